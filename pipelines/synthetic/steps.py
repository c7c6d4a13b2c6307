"""The pipeline: train -> sample -> compare -> evaluate -> write -> report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.lifecycle import finish
from pipelines.synthetic import evaluation, presentation, training
from pipelines.synthetic.law import law_of
from pipelines.synthetic.options import Config
from pipelines.synthetic.prepare import Problem
from pipelines.synthetic.references import run_metropolis
from pipelines.synthetic.training import Objects
from workbench.runs.files import write_json
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure


def work(config: Config, problem: Problem, folder: RunFolder) -> None:
    """Everything from the first step to the report; training that is done is not done again."""
    trained = training.train(config, problem, folder)
    state, environment, _ = trained.state
    policy: Any = training.on_cpu(state.average.module)
    wall, cpu = time.perf_counter(), time.process_time()
    objects = training.draw(config, problem, policy, config.n_samples, "sampling")
    seconds = trained.seconds + time.perf_counter() - wall
    cpu_seconds = trained.cpu_seconds + time.process_time() - cpu
    n_rewards = environment.n_rewards
    write_objects(problem, folder, objects, "samples")

    baseline = None
    if config.baseline:
        baseline = run_metropolis(
            problem.synthetic,
            problem.target,
            n_rewards,
            config.n_samples,
            problem.generator(config.seed, "baseline"),
            problem.beta,
        )
    generator = problem.generator(config.seed, "evaluation")
    law = law_of(config, problem, policy)
    comparison = evaluation.Comparison(
        config,
        problem,
        law,
        objects,
        evaluation.log_law_points(config, problem, policy, law, objects, generator),
        training.learned_log_partition(config, problem, policy, "evaluation"),
        baseline,
        generator,
    )
    figures = evaluation.evaluate(comparison)
    sections = presentation.sections(comparison, training.curves(folder), folder)
    figures |= {
        "n_trajectories": Figure(state.n_trajectories),
        "n_reward_evaluations": Figure(n_rewards),
        "seconds": Figure(seconds, unit="s"),
        "cpu_seconds": Figure(cpu_seconds, unit="s"),
    }
    finish(
        config,
        folder,
        figures,
        sections,
        evaluation,
        environment=problem.synthetic.name,
        n_reward_evaluations=n_rewards,
        n_reward_evaluations_baseline=baseline.n_rewards if baseline else None,
    )


def write_objects(problem: Problem, folder: RunFolder, objects: Objects, stem: str) -> Path:
    """Objects as NAME.npz, and NAME.json with what its arrays are; returns the npz."""
    named = problem.synthetic.arrays(objects.state)
    arrays = {name: values.cpu().numpy() for name, values in named.items()}
    arrays["log_reward"] = objects.log_reward.cpu().numpy()
    arrays["log_weight"] = objects.log_weight.cpu().numpy()
    path = folder.samples / f"{stem}.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    keys = {
        **{name: (problem.synthetic.arrays.__doc__ or "").strip() for name in named},
        "log_reward": "[object], log R of each",
        "log_weight": "[object], log R^beta + log P_B - log P_F of the trajectory it was made by: the "
        "objects as they are follow the learned law, with these weights the true one",
    }
    record = {"environment": problem.synthetic.name, "beta": problem.beta, "arrays": keys}
    write_json(path.with_suffix(".json"), record)
    return path


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int) -> Path:
    """`n` more objects of the trained sampler, with weights, in a file of their own."""
    stem = f"more-{len(list(folder.samples.glob('more-*.npz'))) + 1}"
    trained = training.train(config, problem, folder)
    policy = training.on_cpu(trained.state[0].average.module)
    return write_objects(problem, folder, training.draw(config, problem, policy, n, stem), stem)

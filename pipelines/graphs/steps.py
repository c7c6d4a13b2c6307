"""The pipeline: train -> solve the test graphs by every solver -> look at diversity -> evaluate -> report."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from domains.graphs.policy import GraphPolicy
from pipelines.graphs import diversity, evaluation, presentation, solving, training
from pipelines.graphs.options import Config
from pipelines.graphs.prepare import Problem, adopted, make_policy
from pipelines.lifecycle import finish
from workbench.runs.files import write_text
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.training.progress import track


def work(config: Config, problem: Problem, folder: RunFolder) -> None:
    """Everything from the first step to the report; training and solutions that are there are not made
    again."""
    config = adopted(config)
    learned = training.learned(config, problem, folder)
    policy = learned.policy
    lines = solving.solve_all(config, problem, policy, folder)
    looks = _diversity(config, problem, policy, lines)
    untrained = make_policy(config, problem.training)
    validation = training.look(problem, untrained), training.look(problem, policy)
    comparison = evaluation.Comparison(
        config, problem, lines, looks, learned.cpu_seconds, *validation
    )
    figures = evaluation.evaluate(comparison)
    sections = presentation.sections(comparison, folder)
    drawing = sum(
        line.seconds for (_, name), line in lines.items() if name.startswith("gflownet_best")
    )
    figures |= {
        "n_trajectories": Figure(learned.n_trajectories),
        "seconds": Figure(learned.seconds + drawing, unit="s"),
        "cpu_seconds": Figure(learned.cpu_seconds + drawing, unit="s"),
    }
    finish(
        config,
        folder,
        figures,
        sections,
        evaluation,
        task=problem.task.title,
        n_reward_evaluations=learned.n_rewards,
        notes=list(problem.notes),
    )


def _diversity(
    config: Config,
    problem: Problem,
    policy: GraphPolicy,
    lines: dict[tuple[str, str], solving.Line],
) -> list[diversity.Diversity]:
    found = []
    tests = list(enumerate(problem.tests))
    for i, environment in track(tests, "diversity", len(tests)):
        name = environment.graphs.graphs[0].name
        found.append(
            diversity.diversity(
                policy,
                environment,
                evaluation.best_known(problem, lines, name),
                config.samples,
                config.draws,
                problem.generator(config.seed, f"diversity {i}"),
                problem.random(config.seed, f"diversity {i}"),
            )
        )
    return found


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int) -> Path:
    """`n` sets on each test graph, in a file of their own: one JSON object per set."""
    stem = f"more-{len(list(folder.samples.glob('more-*.jsonl'))) + 1}"
    policy = training.load_policy(adopted(config), problem.training, folder.path)
    records = []
    for i, environment in enumerate(problem.tests):
        graph = environment.graphs.graphs[0]
        generator = problem.generator(config.seed, f"{stem} {i}")
        chosen = training.sets(policy, environment, n, generator)
        state = environment.start(torch.zeros(n, dtype=torch.int64))
        values = environment.value(type(state)(state.graph, chosen, state.stopped)).tolist()
        for row, value in zip(chosen, values, strict=True):
            vertices = graph.named(row.nonzero().squeeze(1).tolist())
            records.append(
                json.dumps(
                    {
                        "schema_version": 1,
                        "graph": graph.name,
                        "solver": "gflownet",
                        "value": value,
                        "vertices": vertices,
                    }
                )
            )
    path = folder.samples / f"{stem}.jsonl"
    write_text(path, "\n".join(records) + "\n")
    return path

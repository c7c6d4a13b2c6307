"""The synthetic pipeline end to end at small size: files, figures, resume, sample, bad input."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from domains.synthetic import environment
from pipelines import cli
from pipelines.synthetic import Config, presentation, preset
from tests.pipelines.finished import blank_picture, metrics, untimed

SMALL = ["--steps", "12", "--batch", "16", "--n-samples", "300", "--n-evaluations", "3"]
SMALL += ["--network.width", "16", "--grid.dimensions", "2", "--grid.height", "4"]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)


def run(out: Path, *flags: str) -> int:
    return cli.main(["synthetic", "run", "--preset", "smoke", *SMALL, *flags, "--out", str(out)])


NAMED = ("total_variation", "log_partition_error", "n_trajectories", "cpu_seconds")
NAMED += ("jensen_shannon", "elbo", "eubo", "log_p_correlation", "modes_found")


@pytest.mark.parametrize("name", ["hypergrid", "bit-sequences", "tree-building"])
def test_every_environment_gives_a_full_run(name, tmp_path):
    assert run(tmp_path / "run", "--environment", name) == 0
    figures = metrics(tmp_path / "run")
    assert all(figures[key]["value"] is not None for key in NAMED)
    assert 0 < figures["total_variation"]["floor"] < 1 and figures["total_variation"]["n"] == 300
    assert figures["total_variation"]["baseline"] > 0
    truth = figures["log_partition"]["reference"]
    options = {"hypergrid": "grid", "bit-sequences": "bits", "tree-building": "tree"}[name]
    config = preset("smoke", name)
    chosen = asdict(getattr(config, options))
    if name == "hypergrid":
        chosen |= {"dimensions": 2, "height": 4}
    assert truth == pytest.approx(environment(name, **chosen).log_partition, abs=1e-9)
    assert figures["elbo"]["value"] < truth < figures["eubo"]["value"]
    assert (tmp_path / "run" / "report.html").exists()
    with np.load(tmp_path / "run" / "samples" / "samples.npz") as arrays:
        named = json.loads((tmp_path / "run" / "samples" / "samples.json").read_text())["arrays"]
        assert set(arrays) == set(named) and all(len(arrays[key]) == 300 for key in arrays)


def test_training_comes_nearer_and_figures_agree(tmp_path):
    """Enough steps for 2 x 4: the exact law, the samples and the weights tell the same story."""
    flags = ["--steps", "200", "--batch", "32", "--n-samples", "4000", "--learning-rate", "0.01"]
    assert run(tmp_path / "run", *flags) == 0
    figures = metrics(tmp_path / "run")
    assert figures["total_variation"]["value"] < 0.02
    assert figures["log_partition_error"]["value"] < 0.02
    assert figures["log_p_correlation"]["value"] > 0.99
    assert figures["log_p_slope"]["value"] == pytest.approx(1, abs=0.05)
    by_weights = figures["log_partition_importance"]
    assert abs(by_weights["value"] - by_weights["reference"]) < 5 * by_weights["stderr"]
    samples = figures["total_variation_samples"]
    assert samples["value"] < 2 * samples["floor"]
    mean = figures["mean_log_reward"]
    assert abs(mean["value"] - mean["reference"]) < 5 * mean["stderr"] + 0.05


def test_the_weights_lead_from_the_learned_law_to_the_true_one(tmp_path):
    """An untrained sampler: its samples reweighted give the true mean reward."""
    assert run(tmp_path / "run", "--steps", "1", "--n-samples", "20000") == 0
    with np.load(tmp_path / "run" / "samples" / "samples.npz") as arrays:
        weights = torch.from_numpy(arrays["log_weight"]).double().softmax(0)
        reward = torch.from_numpy(arrays["log_reward"]).double()
    truth = metrics(tmp_path / "run")["mean_log_reward"]["reference"]
    mean = float((weights * reward).sum())
    error = float((weights.square() * (reward - mean).square()).sum().sqrt())
    assert abs(mean - truth) < 5 * error and abs(float(reward.mean()) - truth) > 5 * error


@pytest.mark.parametrize(
    "flags",
    [
        ["--objective", "subtb", "--backward", "uniform", "--replay.kind", "prioritised"],
        ["--objective", "forward-kl", "--environment", "tree-building"],
        ["--objective", "mellowmax", "--backward", "likelihood"],
        ["--ensemble.heads", "2", "--ensemble.prior-scale", "1", "--exploration.epsilon", "0.1"],
        ["--temperature.kind", "conditional", "--temperature.initial", "0.5"],
        ["--temperature.final", "2"],
        ["--network.tabular", "--local-search.rounds", "1"],
        ["--grid.dimensions", "1", "--no-baseline"],
    ],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_options_of_the_core(flags, tmp_path):
    assert run(tmp_path / "run", *flags) == 0
    figures = metrics(tmp_path / "run")
    assert 0 <= figures["total_variation"]["value"] < 1
    assert math.isfinite(figures["elbo"]["value"])


def test_a_power_of_the_reward_is_judged_by_its_own_law(tmp_path):
    flags = ["--temperature.final", "2", "--grid.dimensions", "1"]
    assert run(tmp_path / "run", *flags) == 0
    grid = environment("hypergrid", dimensions=1, height=4)
    states = grid.all_states()
    reward = grid.log_reward(states)[grid.is_terminal(states)]
    truth = float((2 * reward).logsumexp(0))
    assert metrics(tmp_path / "run")["log_partition"]["reference"] == pytest.approx(truth)


def test_a_space_too_large_to_list(tmp_path, monkeypatch):
    from pipelines.synthetic import evaluation, prepare

    monkeypatch.setattr(prepare, "MOST_STATES", 10)
    monkeypatch.setattr(evaluation, "TEST_OBJECTS", 20)
    assert run(tmp_path / "run", "--environment", "bit-sequences") == 0
    figures = metrics(tmp_path / "run")
    assert figures["total_variation"]["value"] is None
    assert "too many" in figures["total_variation"]["why"]
    assert figures["elbo"]["stderr"] > 0 and figures["log_p_correlation"]["n"] == 20
    assert figures["log_partition_error"]["value"] is not None


def test_log_p_by_importance_is_near_the_exact_law(tmp_path, generator):
    from pipelines.synthetic import law, prepare, training
    from workbench.runs.folder import RunFolder

    config = Config(environment="tree-building", steps=5, batch=16, seed=3)
    problem = prepare.problem(config)
    with RunFolder.create(tmp_path / "run", {}, "synthetic") as folder:
        policy = training.train(config, problem, folder).state[0].average.module
    exact = law.law_of(config, problem, policy)
    objects = problem.synthetic.uniform_objects(20, generator)
    found = law.log_p_by_importance(config, problem, policy, objects, 400, generator)
    torch.testing.assert_close(
        found, exact.log_p[problem.synthetic.index(objects)], atol=0.1, rtol=0
    )


def test_a_stopped_run_resumes_to_the_same_figures(tmp_path, monkeypatch):
    from workbench.gflownet import algorithm

    step, calls = algorithm.step, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    flags = ["--replay.kind", "uniform", "--objective", "log-variance"]
    with monkeypatch.context() as patched:
        patched.setattr(algorithm, "step", interrupted)
        assert run(tmp_path / "stopped", *flags) == 130
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    assert cli.main(["resume", str(tmp_path / "stopped")]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(tmp_path / "stopped") == untimed(tmp_path / "whole")


def test_more_samples(tmp_path):
    assert run(tmp_path / "run") == 0
    for number in (1, 2):
        assert cli.main(["sample", str(tmp_path / "run"), "--n", "50"]) == 0
        with np.load(tmp_path / "run" / "samples" / f"more-{number}.npz") as arrays:
            assert arrays["coordinates"].shape == (50, 2)
            assert np.isfinite(arrays["log_weight"]).all()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--environment", "hypergird"], 'did you mean "hypergrid"'),
        (["--objective", "modified-db", "--environment", "tree-building"], "take db"),
        (["--objective", "fl-subtb", "--environment", "bit-sequences"], "take subtb"),
        (["--grid.height", "1"], "height 1"),
        (["--n-samples", "0"], "--n-samples is 0"),
        (
            ["--objective", "forward-kl", "--temperature.kind", "conditional"],
            "one temperature",
        ),
        (["--network.tabular", "--grid.dimensions", "12"], "too many for a table"),
    ],
)
def test_bad_input_is_one_sentence_and_no_folder(flags, words, tmp_path, capsys):
    assert run(tmp_path / "run", *flags) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_presets_are_configs_of_their_environment():
    for name in ("smoke", "laptop", "paper"):
        for space in ("hypergrid", "bit-sequences", "tree-building"):
            config = preset(name, space)
            assert config.environment == space
    laptop = preset("laptop")
    assert (laptop.grid.dimensions, laptop.grid.height, laptop.grid.r0) == (4, 8, 0.1)
    assert (laptop.objective, laptop.network.width, laptop.network.layers) == ("tb", 256, 2)

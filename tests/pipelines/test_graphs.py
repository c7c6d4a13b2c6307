"""The graphs pipeline end to end at small size: files, figures, resume, sample, solve, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import cli
from pipelines.graphs import Config, prepare, presentation, preset, solving
from pipelines.graphs.options import TaskName
from tests.pipelines.finished import blank_picture, metrics

SMALL = ["--steps", "3", "--batch", "8", "--n-train", "4", "--draws", "200", "--n-evaluations", "1"]
SMALL += ["--network.width", "8", "--network.layers", "1", "--time-limit", "0.3"]
PETERSEN = {"mis": (4, 5), "clique": (2, 15), "mds": (3, 10), "cut": (12, 5)}
SOLVERS = ("gflownet_best_of_20", "gflownet_local_search", "greedy", "greedy_restarts")
SOLVERS += ("greedy_restarts_equal_seconds", "greedy_local_search", "random_local_search")


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)


def run(out: Path, *flags: str) -> int:
    return cli.main(["graphs", "run", "--preset", "smoke", *SMALL, *flags, "--out", str(out)])


def solutions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("task", PETERSEN)
def test_petersen_through_the_command_line(task, tmp_path):
    assert run(tmp_path / "run", "--task", task, "--test", "petersen") == 0
    figures = metrics(tmp_path / "run")
    value, n_optima = PETERSEN[task]
    for solver in SOLVERS:
        assert figures[f"mean_value/{solver}"]["value"] is not None
        assert figures[f"mean_gap/{solver}"]["value"] >= 0
        assert figures[f"seconds/{solver}"]["value"] > 0
        assert figures[f"seconds_to_1_percent/{solver}"] is not None
    assert figures["mean_value/gflownet_local_search"]["value"] == value
    assert figures["distinct_optima_found"]["value"] == n_optima
    assert figures["distinct_optima_found"]["reference"] == n_optima
    assert figures["optima_coverage"]["value"] == 1.0
    assert 0 <= figures["terminal_tvd"]["value"] < 1
    assert figures["validation_gain/single"]["n"] == preset("smoke", task).n_validation
    assert (tmp_path / "run" / "report.html").exists()
    assert figures["gap_to_cp_sat/gflownet_local_search"]["value"] == 0
    for line in solutions(tmp_path / "run" / "samples" / "solutions.jsonl"):
        assert {"graph", "value", "vertices", "solver"} <= set(line)
        assert line["graph"] == "petersen" and set(line["vertices"]) <= set(range(10))


def test_solvers_that_are_absent_say_why_and_those_that_do_not_apply_are_left_out(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(solving.exact_solvers, "is_installed", lambda module: False)
    assert run(tmp_path / "run", "--task", "mds") == 0
    figures = metrics(tmp_path / "run")
    assert figures["mean_value/cp_sat"]["value"] is None
    assert "pip install" in figures["mean_value/cp_sat"]["why"]
    assert not [name for name in figures if name.endswith(("/kamis", "/tabu"))]


def test_what_other_solvers_found_is_taken_from_an_earlier_run(
    trained, tmp_path, monkeypatch, capsys
):
    known = trained / "samples" / "solutions.jsonl"
    monkeypatch.setattr(solving.exact_solvers, "cp_sat", None)
    flags = ["--solvers", "cp_sat", "--known"]
    assert run(tmp_path / "run", *flags, str(known), "--seed", "5") == 0
    for name in ("mean_value", "seconds"):
        figure = f"{name}/cp_sat"
        assert metrics(tmp_path / "run")[figure] == metrics(trained)[figure]
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(known.read_text().replace('"value": 4.0', '"value": 9.0'))
    assert run(tmp_path / "other", *flags, str(wrong)) == 2
    assert "is no solution of value 9" in capsys.readouterr().err


def test_a_file_with_weights_and_fixed_vertices(tmp_path, capsys):
    file = tmp_path / "g.edges"
    file.write_text("a b 1\nb c 2\nc d 1\nd a 3\na a 1\nc e -1\n")
    flags = ["--task", "cut", "--test", str(file), "--fix-in", "a", "--fix-out", "c"]
    assert run(tmp_path / "run", *flags) == 0
    assert "1 self-loops dropped" in capsys.readouterr().err
    for line in solutions(tmp_path / "run" / "samples" / "solutions.jsonl"):
        assert "a" in line["vertices"] and "c" not in line["vertices"]
    assert metrics(tmp_path / "run")["mean_best_known"]["value"] == 5.0


def timeless(out: Path) -> dict[str, Any]:
    timed = ("seconds", "per_second", "pays", "equal_seconds", "_local_search", "kamis")
    return {
        name: figure
        for name, figure in metrics(out).items()
        if not any(part in name for part in timed)
    }


def test_a_stopped_run_resumes_to_the_same_figures(tmp_path, monkeypatch):
    from workbench.gflownet import algorithm

    step, calls = algorithm.step, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    flags = ["--steps", "4", "--n-evaluations", "4", "--solvers", "cp_sat"]
    with monkeypatch.context() as patched:
        patched.setattr(algorithm, "step", interrupted)
        assert run(tmp_path / "stopped", *flags) == 130
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    assert cli.main(["resume", str(tmp_path / "stopped")]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert timeless(tmp_path / "stopped") == timeless(tmp_path / "whole")


def test_solutions_that_stand_there_are_not_made_again(tmp_path, monkeypatch):
    assert run(tmp_path / "run", "--solvers", "cp_sat") == 0
    before = (tmp_path / "run" / "samples" / "solutions.jsonl").read_text()
    monkeypatch.setattr(solving.exact_solvers, "cp_sat", None)
    assert cli.main(["resume", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "samples" / "solutions.jsonl").read_text() == before


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("graphs") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(presentation, "save", blank_picture)
        assert run(out, "--solvers", "cp_sat") == 0
    return out


def test_a_policy_is_taken_from_another_run(trained, tmp_path, capsys):
    """Other graphs, no training, a run that solves and samples like any other."""
    flags = ["--trained", str(trained), "--test", "er-tiny", "--n-test", "2", "--solvers", "cp_sat"]
    assert run(tmp_path / "run", *flags, "--network.width", "5") == 0
    figures = metrics(tmp_path / "run")
    assert figures["training_seconds"] == metrics(trained)["training_seconds"]
    assert figures["mean_value/cp_sat"]["n"] == 2
    assert cli.main(["sample", str(tmp_path / "run"), "--n", "3"]) == 0
    command = ["graphs", "solve", "--input", "petersen", "--run", str(tmp_path / "run")]
    assert cli.main(command) == 0
    assert run(tmp_path / "cut", *flags, "--task", "cut") == 2
    assert "is a run of mis" in capsys.readouterr().err
    (tmp_path / "run" / "metrics.json").unlink()
    assert run(tmp_path / "no", "--trained", str(tmp_path / "run")) == 2
    assert "is not finished" in capsys.readouterr().err


def test_more_samples(trained):
    assert cli.main(["sample", str(trained), "--n", "7"]) == 0
    lines = solutions(trained / "samples" / "more-1.jsonl")
    assert len(lines) == 7 and all(len(line["vertices"]) == line["value"] for line in lines)


def test_solve_a_graph_of_ones_own(trained, tmp_path, capsys):
    file = tmp_path / "ring.dimacs"
    file.write_text("p edge 6 6\n" + "".join(f"e {v + 1} {(v + 1) % 6 + 1}\n" for v in range(6)))
    out = tmp_path / "sets.jsonl"
    command = ["graphs", "solve", "--task", "mis", "--input", str(file), "--run", str(trained)]
    capsys.readouterr()
    assert cli.main([*command, "--out", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["drawn"] == 20 and answer["sets"][0]["value"] == 3
    found = {tuple(line["vertices"]) for line in solutions(out)}
    assert {("1", "3", "5"), ("2", "4", "6")} <= found
    assert cli.main([*command, "--fix-in", "2", "--time-limit", "0.1", "--keep", "1"]) == 0
    assert "2 4 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "cut"], "was trained for mis"),
        (["--input", "none.dimacs"], "cannot read"),
        (["--samples", "0"], "--samples is 0"),
        (["--time-limit", "-1"], "--time-limit is -1"),
        (["--search-seconds", "-1"], "--search-seconds is -1"),
        (["--fix-in", "77"], 'no vertex "77"'),
        (["--format", "xls"], "--format is xls"),
    ],
)
def test_solve_refuses_bad_input(trained, flags, words, capsys):
    command = ["graphs", "solve", "--input", "petersen", "--run", str(trained), *flags]
    assert cli.main(command) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "miss"], 'did you mean "mis"'),
        (["--train", "rb-smal"], 'did you mean "rb-small"'),
        (["--test", "none.dimacs"], "cannot read"),
        (["--objective", "modified-db"], "take db"),
        (["--objective", "forward-kl"], "take log-variance"),
        (["--temperature.kind", "conditional"], "annealed or fixed"),
        (["--network.tabular"], "leave it out"),
        (["--samples", "0"], "--samples is 0"),
        (["--time-limit", "0"], "--time-limit is 0"),
        (["--search-seconds", "nan"], "--search-seconds is nan"),
        (["--fix-in", "0", "1"], "adjacent and both fixed in"),
        (["--device", "cuda"], "no CUDA device"),
        (["--known", "none.jsonl"], "is no file"),
        (["--ensemble.heads", "2"], "take 1"),
    ],
)
def test_bad_input_is_one_sentence_and_no_folder(flags, words, tmp_path, capsys):
    assert run(tmp_path / "run", *flags) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_training_and_tests_never_share_a_graph():
    config = preset("smoke")
    problem = prepare.problem(Config(**{**config.__dict__, "test": "er-tiny", "seed": 1}))
    others = [*problem.training.graphs.graphs, *problem.looks.graphs.graphs]
    for environment in problem.tests:
        graph = environment.graphs.graphs[0]
        assert not any(np.array_equal(graph.neighbour, other.neighbour) for other in others)


def test_presets_are_configs_of_their_task():
    for name in ("smoke", "laptop", "paper"):
        for task in TaskName.__args__:
            assert preset(name, task).task == task
    assert preset("laptop", "cut").train == "ba-small"


@pytest.mark.slow
def test_ten_steps_on_rb_graphs_already_improve_on_greedy_starts():
    """Single sets on held-out graphs, each graph with itself; seen: 0.5 vertices, 5 standard errors."""
    from dataclasses import replace

    from pipelines.graphs import training
    from workbench.gflownet import algorithm

    config = replace(
        preset("laptop"), steps=10, n_train=40, n_test=1, n_validation=12, ema_decay=0.5
    )
    problem = prepare.problem(config)
    first = prepare.make_policy(config, problem.training)
    before = training.look(problem, first).single
    state = algorithm.init(config, problem.training, problem.generator(0, "training"), first)
    for _ in range(config.steps):
        state, _ = algorithm.step(config, problem.training, state)
    gain = training.look(problem, state.average.module).single - before
    assert float(gain.mean()) > 3 * float(gain.std() / len(gain) ** 0.5), gain


def test_search_of_every_start_has_the_same_seconds(trained):
    """Those of the policy hold the drawing of its sets, whose values its curve begins with."""
    lines = {line["solver"]: line for line in solutions(trained / "samples" / "solutions.jsonl")}
    ours, drawn = lines["gflownet_local_search"], lines["gflownet_best_of_20"]
    assert ours["seconds"] >= drawn["seconds"]
    assert ours["curve"][: len(drawn["curve"])] == drawn["curve"]
    for name in ("greedy_local_search", "random_local_search"):
        assert 0 <= lines[name]["seconds"] - ours["seconds"] < 0.1


def test_seconds_to_near_is_a_median_over_all_graphs():
    from types import SimpleNamespace

    from pipelines.graphs.evaluation import seconds_to_near

    comparison: Any = SimpleNamespace(best=lambda graph: 200.0)
    curves = [[(0.1, 150.0), (0.4, 198.0)], [(0.2, 200.0)], [(0.3, 100.0)]]
    lines = [solving.Line("g", "x", c[-1][1], 1.0, [], curve=c) for c in curves]
    assert seconds_to_near(comparison, lines) == (0.4, 2)
    assert seconds_to_near(comparison, lines[2:]) == (None, 0)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.1), (-1, -0.1)])
def test_gaps_to_another_solver_have_a_sign(sign, expected):
    """Nine where it has ten: worse where large is good, better where small is. Where it failed is left out."""
    from types import SimpleNamespace

    from pipelines.graphs.evaluation import _against_others

    ours = ("gflownet_best_of_20", "gflownet_local_search")
    lines = {("a", name): solving.Line("a", name, 9.0, 1.0, []) for name in ours}
    lines |= {("b", name): solving.Line("b", name, 5.0, 1.0, []) for name in ours}
    lines["a", "cp_sat"] = solving.Line("a", "cp_sat", 10.0, 1.0, [])
    lines["b", "cp_sat"] = solving.Line("b", "cp_sat", None, 1.0, [])
    comparison: Any = SimpleNamespace(
        lines=lines,
        graphs=["a", "b"],
        solvers=[*ours, "cp_sat"],
        config=SimpleNamespace(samples=20),
        problem=SimpleNamespace(task=SimpleNamespace(sign=sign)),
    )
    figures = _against_others(comparison)
    assert [figures[f"gap_to_cp_sat/{name}"].value for name in ours] == [expected, expected]


def test_a_curve_ends_with_the_mean_gap():
    """Graphs whose solver took different times: the last point is that of all, when all are done."""
    from types import SimpleNamespace

    one = solving.Line("a", "x", 8.0, 1.0, [], curve=[(0.1, 5.0), (0.5, 8.0)])
    two = solving.Line("b", "x", 10.0, 4.0, [], curve=[(0.2, 5.0), (3.0, 10.0)])
    lines = {("a", "x"): one, ("b", "x"): two}
    comparison: Any = SimpleNamespace(lines=lines, graphs=["a", "b"], best=lambda graph: 10.0)
    seconds, gaps = presentation._curve(comparison, "x")
    assert seconds[0] == pytest.approx(0.2) and seconds[-1] == pytest.approx(4.0)
    assert gaps[0] == pytest.approx(50.0) and gaps[-1] == pytest.approx(10.0)

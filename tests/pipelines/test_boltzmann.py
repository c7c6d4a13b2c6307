"""Every sampler, at a size of seconds, leaves the run folder that the contract promises."""

from __future__ import annotations

import json
import re

import mdtraj
import numpy as np
import pytest
import yaml

from pipelines import cli
from tests.pipelines.boltzmann_runs import VACUUM, run
from tests.pipelines.finished import metrics

CASES = [
    ("gmm40", "idem"),
    ("funnel-hard", "hmc"),
    ("gmm25", "smc"),
    ("dw4", "idem"),
    ("lj13", "mala"),
    ("lj13", "pt"),
    ("lj7", "smc"),
    (VACUUM, "pt"),
    (VACUUM, "md"),
    (VACUUM, "idem"),
]
ALWAYS = {
    "mean_energy",
    "virial",
    "n_energy_evaluations",
    "seconds",
    "cpu_seconds",
    "seconds_total",
}
WEIGHTED = {"ess_fraction", "pareto_k", "log_partition", "mean_energy_weighted"}
CHAINS = {"r_hat_energy", "r_hat_geometric", "ess_energy", "ess_geometric"}
FIELDS = {"value", "stderr", "n", "floor", "baseline", "reference", "unit", "why"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`runs(system, sampler)`: the folder of that run, made once."""
    made = {}

    def find(system, sampler):
        if (system, sampler) not in made:
            out = tmp_path_factory.mktemp("runs") / f"{system}-{sampler}"
            assert run(out, "--system", system, "--sampler", sampler) == 0
            made[system, sampler] = out
        return made[system, sampler]

    return find


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, runs):
    return (*request.param, runs(*request.param))


def test_the_folder_has_all_its_parts(case):
    _, sampler, out = case
    files = {path.name for path in out.iterdir() if path.name != ".lock"}
    always = {"config.yaml", "provenance.json", "metrics.json", "report.html", "report.json"}
    assert files >= always | {"samples", "figures"}
    if sampler != "smc":
        assert files >= {"metrics.jsonl", "checkpoints"}
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["pipeline"] == "boltzmann" and config["sampler"] == sampler
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["schema_version"] == 1 and facts["seed"] == 0 and facts["threads"] == 1
    assert facts["n_energy_evaluations"] == metrics(out)["n_energy_evaluations"]["value"]
    assert not [path for path in out.rglob("*") if "writing" in path.name]


def test_figures_are_flat_finite_and_named_as_agreed(case):
    system, sampler, out = case
    text = (out / "metrics.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    figures = metrics(out)
    for name, figure in figures.items():
        assert set(figure) | {"why"} == FIELDS, name
        assert figure["value"] is not None or figure["why"], name
    expected = set(ALWAYS)
    if sampler in ("idem", "smc"):
        expected |= WEIGHTED
    if sampler in ("mala", "hmc", "pt", "md"):
        expected |= CHAINS
    if system in ("gmm40", "gmm25"):
        expected |= {"modes_found", "mode_weight_tvd", "energy_w2"}
        if sampler == "idem":
            expected |= {"log_partition_error", "energy_w2_weighted"}
    if system in ("dw4", "lj13", "lj7"):
        expected |= {"energy_w2", "pair_distance_tvd"}
    if system == VACUUM:
        expected |= {"phi_positive_population", "population/beta"}
    assert expected <= set(figures)
    assert figures["virial"]["reference"] is not None
    assert figures["n_energy_evaluations"]["value"] > 0
    assert figures["seconds"]["value"] <= figures["seconds_total"]["value"]


def test_a_learned_sampler_stands_beside_a_baseline_at_its_cost(runs):
    out = runs("dw4", "idem")
    figures = metrics(out)
    assert figures["energy_w2"]["baseline"] is not None
    assert figures["energy_w2"]["floor"] is not None
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["n_energy_evaluations_baseline"] > 0
    assert "n_energy_evaluations_baseline" in facts


def test_samples_are_in_the_formats_of_the_field(case):
    system, sampler, out = case
    stems = ["samples", "weighted"] if sampler == "idem" else ["samples"]
    for stem in stems:
        record = json.loads((out / "samples" / f"{stem}.json").read_text())
        n = record["n_samples"]
        if system == VACUUM:
            frames = mdtraj.load(
                str(out / "samples" / f"{stem}.dcd"), top=str(out / "samples" / f"{stem}.pdb")
            )
            assert frames.n_frames == n and frames.n_atoms == 22
            assert record["temperature_kelvin"] == 300.0 and len(record["system_sha256"]) == 64
            arrays = np.load(out / "samples" / f"{stem}-weights.npz")
        else:
            arrays = np.load(out / "samples" / f"{stem}.npz")
            assert arrays["x"].shape == (n, *record["event_shape"])
            assert np.isfinite(arrays["x"]).all()
        assert arrays["energies_kt"].shape == (n,) and set(arrays) <= set(record["keys"])
        assert ("log_weights" in arrays) == (stem == "weighted" or sampler == "smc")


def test_the_report_needs_no_network(case):
    *_, out = case
    page = (out / "report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", page)
    assert not re.search(r"url\(\s*['\"]?(?:https?:)?//|@import", page)
    assert "energy_w2" in page or "mean_energy" in page
    for figure in (out / "figures").glob("*.png"):
        assert figure.with_suffix(".svg").exists()


def test_the_report_says_what_was_sampled_and_how(runs):
    learned = (runs("gmm40", "idem") / "report.html").read_text()
    assert "Known biases in force" in learned and "probability flow" in learned
    assert "20000 exact draws" in learned
    cluster = (runs("dw4", "idem") / "report.html").read_text()
    assert "Gauge" in cluster and "Baseline: Parallel tempering" in cluster
    molecule = (runs(VACUUM, "pt") / "report.html").read_text()
    assert "amber96.xml" in molecule and "System XML sha256" in molecule


@pytest.mark.parametrize(
    ("system", "sampler"), [("gmm40", "idem"), ("lj13", "mala"), (VACUUM, "pt")]
)
def test_more_samples_from_a_finished_run(runs, system, sampler, capsys):
    out = runs(system, sampler)
    before = metrics(out)
    first = (out / "samples" / "samples.json").read_bytes()
    assert cli.main(["sample", str(out), "--n", "50"]) == 0
    record = json.loads((out / "samples" / "more-1.json").read_text())
    assert record["n_samples"] >= 50
    assert "more-1" in capsys.readouterr().out
    assert metrics(out) == before and (out / "samples" / "samples.json").read_bytes() == first
    assert cli.main(["sample", str(out), "--n", "8"]) == 0
    more = [out / "samples" / f"more-{k}.json" for k in (1, 2)]
    assert all(path.exists() for path in more)


def test_samplers_that_keep_no_state_say_so(runs, capsys):
    assert cli.main(["sample", str(runs("gmm25", "smc")), "--n", "5"]) == 2
    assert "run it again" in capsys.readouterr().err


def test_json_alone_on_standard_output_even_from_compiled_libraries(tmp_path, capfd):
    assert run(tmp_path / "run", "--system", VACUUM, "--sampler", "pt", "--json") == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["metrics"]["mean_energy"]["n"] == 96


def test_a_python_call_is_the_same_as_the_command(runs, tmp_path):
    from pipelines import boltzmann
    from pipelines.options import overlay

    out = runs("lj13", "mala")
    plain = yaml.safe_load((out / "config.yaml").read_text())
    del plain["pipeline"]
    again = boltzmann.run(overlay(boltzmann.Config(), plain), tmp_path / "again")
    assert metrics(again)["mean_energy"] == metrics(out)["mean_energy"]


def test_finished_runs_are_evaluated_again_by_resume(runs):
    out = runs("funnel-hard", "hmc")
    before = metrics(out)
    assert cli.main(["resume", str(out)]) == 0
    after = metrics(out)
    assert before["mean_energy"] == after["mean_energy"]
    assert before["n_energy_evaluations"] == after["n_energy_evaluations"]

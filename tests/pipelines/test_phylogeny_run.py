"""The phylogeny pipeline end to end at small size: files, figures, roots, resume, more samples."""

from __future__ import annotations

import csv
from pathlib import Path

import dendropy
import pytest
import torch

from domains.phylogeny.alignment import read_alignment
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.topologies import all_topologies
from domains.phylogeny.tree_files import read_trees
from domains.phylogeny.tree_target import TreeTarget
from domains.phylogeny.trees import split_keys, topology_keys
from pipelines import cli
from pipelines.phylogeny import presentation, preset, references
from pipelines.phylogeny.prepare import embedded_alignment
from tests.pipelines.finished import blank_picture, metrics, untimed
from tests.pipelines.phylogeny_runs import TAXA, run

POSTERIOR = ("log_marginal_likelihood", "log_marginal_likelihood_error", "topology_tvd", "asdsf")
POSTERIOR += ("log_p_correlation", "n_likelihood_evaluations", "seconds")
PARSIMONY = ("best_parsimony", "n_distinct_best", "best_parsimony_raw", "best_parsimony_training")
PARSIMONY += ("best_parsimony_local_search", "topology_tvd", "n_parsimony_evaluations")


@pytest.fixture(autouse=True)
def small_and_without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)
    monkeypatch.setattr(references, "EXACT_SAMPLES", 2000)


def patterns_of_run() -> Patterns:
    return Patterns.from_alignment(read_alignment(embedded_alignment())).take(TAXA)


def test_a_posterior_run_is_complete(tmp_path):
    out = tmp_path / "run"
    assert run(out) == 0
    figures = metrics(out)
    assert all(figures[name]["value"] is not None for name in POSTERIOR)
    assert figures["best_parsimony"]["value"] is None and figures["best_parsimony"]["why"]
    assert figures["log_marginal_likelihood"]["reference"] < 0
    assert 0 < figures["topology_tvd"]["floor"] < 0.5
    assert (out / "report.html").exists()
    samples = out / "samples"
    named = {path.name for path in samples.iterdir()}
    assert {"trees.trees", "run1.t", "run1.p", "consensus.tre", "map.tre"} <= named
    assert {"credible_set.trees", "split_frequencies.tsv", "reference.run2.t"} <= named
    trees = read_trees(samples / "trees.trees", TAXA)
    assert len(trees.trees) == 60 and float(trees.weights.sum()) == pytest.approx(1.0)
    as_drawn = read_trees(samples / "run1.t", TAXA)
    assert torch.equal(topology_keys(as_drawn.trees), topology_keys(trees.trees))
    rows = (samples / "run1.p").read_text().splitlines()
    target = TreeTarget(patterns_of_run())
    likelihood = TreeLikelihood(target.patterns, target.model(target.start))
    expected = likelihood.log_likelihood(trees.trees[slice(0, 5)])
    written = torch.tensor([[float(x) for x in row.split("\t")] for row in rows[2:7]]).double()
    torch.testing.assert_close(written[:, 1], expected, rtol=1e-5, atol=1e-2)
    prior = target.log_tree_prior(trees.trees.lengths.sum(1))
    torch.testing.assert_close(written[:, 2], prior[:5], rtol=1e-5, atol=1e-4)


def test_files_of_summaries_agree_with_the_sample(tmp_path):
    assert run(tmp_path / "run", "--method", "mcmc") == 0
    samples = tmp_path / "run" / "samples"
    trees = read_trees(samples / "trees.trees", TAXA).trees
    share = (topology_keys(trees) == topology_keys(trees).mode().values).double().mean()
    best = read_trees(samples / "map.tre", TAXA).trees
    assert int(topology_keys(best)[0]) == int(topology_keys(trees).mode().values)
    top = read_trees(samples / "credible_set.trees", TAXA)
    assert float(top.weights[0]) == pytest.approx(float(share), abs=1e-6)
    assert float(top.weights[:-1].sum()) < 0.95 <= float(top.weights.sum()) + 1e-9
    with (samples / "split_frequencies.tsv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    keys = split_keys(trees)
    shares = [float((keys == key).any(1).double().mean()) for key in keys.unique()]
    counts = sorted(shares, reverse=True)
    assert [float(row["frequency"]) for row in table] == pytest.approx(counts, abs=1e-5)
    both = [0.5 * (float(row["run1"]) + float(row["run2"])) for row in table]
    assert both == pytest.approx([float(row["frequency"]) for row in table], abs=1e-5)
    consensus = dendropy.Tree.get(path=samples / "consensus.tre", schema="nexus")
    inner = [n for n in consensus.preorder_internal_node_iter() if n.annotations.get_value("prob")]
    assert len(inner) == sum(count > 0.5 for count in counts)


def test_markov_chains_meet_the_enumerated_posterior(tmp_path):
    flags = ["--chain.rounds", "1500", "--chain.steps", "10", "--stone.rounds", "200"]
    flags += ["--stone.stones", "12", "--stone.repeats", "6"]
    assert run(tmp_path / "run", "--method", "mcmc", *flags) == 0
    figures = metrics(tmp_path / "run")
    assert figures["topology_tvd"]["value"] < 0.08 and figures["asdsf"]["value"] < 0.08
    error = figures["log_marginal_likelihood_error"]
    assert error["value"] < 5 * error["stderr"] and error["stderr"] < 0.5
    assert (tmp_path / "run" / "samples" / "run2.p").exists()


def test_free_parameters_are_sampled_by_chains(tmp_path):
    assert run(tmp_path / "run", "--method", "mcmc", "--model", "HKY+G4") == 0
    header = (tmp_path / "run" / "samples" / "run1.p").read_text().splitlines()[1]
    assert header.split("\t")[4:] == ["kappa", "alpha"]
    assert "free parameters" in metrics(tmp_path / "run")["topology_tvd"]["why"]


def test_a_parsimony_run_tells_its_stages_apart(tmp_path):
    out = tmp_path / "run"
    assert run(out, "--target", "parsimony", "--gaps", "fifth-state") == 0
    figures = metrics(out)
    assert all(figures[name]["value"] is not None for name in PARSIMONY)
    assert figures["log_marginal_likelihood"]["value"] is None
    best = figures["best_parsimony"]["value"]
    stages = ("raw", "training", "local_search")
    assert best == min(figures[f"best_parsimony_{stage}"]["value"] for stage in stages)
    trees = read_trees(out / "samples" / "best.trees", TAXA)
    steps = Parsimony(patterns_of_run(), "fifth-state").score(trees.trees.children)
    assert int(steps[0]) == best and bool((steps.diff() >= 0).all())
    assert [int(label.rsplit("_", 1)[1]) for label in trees.labels] == steps.tolist()
    assert figures["n_distinct_best"]["value"] == int((steps <= best + 4).sum())
    keys = topology_keys(trees.trees, longer_than=0.0)
    assert len(keys.unique()) == len(keys)
    said = (out / "report.html").read_text()
    assert "raw policy" in said and "search alone, equal cost" in said and "fifth state" in said


@pytest.mark.parametrize(
    "flags",
    [
        ["--objective", "subtb", "--replay.kind", "diverse", "--replay.paths", "backward"],
        [
            "--objective",
            "log-variance",
            "--local-search.rounds",
            "1",
            "--exploration.epsilon",
            "0.1",
        ],
        ["--objective", "db", "--forest.lengths", "bins", "--temperature.kind", "annealed"],
        ["--forest.order", "any", "--model", "HKY{2.5}+F+G4{0.5}", "--no-reference"],
    ],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_options_of_the_gflownet(flags, tmp_path):
    assert run(tmp_path / "run", *flags) == 0
    figures = metrics(tmp_path / "run")
    assert figures["log_marginal_likelihood"]["value"] < 0
    assert -1 <= figures["log_p_correlation"]["value"] <= 1


def test_a_search_alone(tmp_path):
    assert run(tmp_path / "run", "--target", "parsimony", "--method", "search") == 0
    figures = metrics(tmp_path / "run")
    every = patterns_of_run()
    least = int(Parsimony(every, "missing").score(all_topologies(5)).min())
    assert figures["best_parsimony"]["value"] == least
    assert cli.main(["sample", str(tmp_path / "run"), "--n", "5"]) == 2


@pytest.mark.parametrize(
    ("flags", "sides"),
    [
        (["--outgroup", "Mouse"], [{"Mouse"}]),
        (["--outgroup", "Cow", "Horse"], [{"Cow", "Horse"}, {"Cow"}]),
        (["--midpoint"], None),
    ],
)
def test_written_trees_are_rooted(flags, sides, tmp_path):
    assert run(tmp_path / "run", "--method", "mcmc", *flags) == 0
    samples = tmp_path / "run" / "samples"
    for name in ("trees.trees", "map.tre", "consensus.tre"):
        assert "[&R]" in (samples / name).read_text()
        for tree in dendropy.TreeList.get(path=samples / name, schema="nexus")[:20]:
            below = [
                {leaf.taxon.label for leaf in child.leaf_iter()}
                for child in tree.seed_node.child_nodes()
            ]
            assert len(below) == 2
            assert sides is None or any(side in below for side in sides)
    assert "TREE mcc" in (samples / "map.tre").read_text()


@pytest.mark.parametrize("flags", [[], ["--target", "parsimony", "--replay.kind", "diverse"]])
def test_a_stopped_run_resumes_to_the_same_figures(flags, tmp_path, monkeypatch):
    from workbench.gflownet import algorithm

    step, calls = algorithm.step, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(algorithm, "step", interrupted)
        assert run(tmp_path / "stopped", *flags) == 130
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    assert cli.main(["resume", str(tmp_path / "stopped")]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(tmp_path / "stopped") == untimed(tmp_path / "whole")


@pytest.mark.parametrize("flags", [[], ["--method", "mcmc"], ["--target", "parsimony"]])
def test_more_samples(flags, tmp_path):
    assert run(tmp_path / "run", *flags) == 0
    for number in (1, 2):
        assert cli.main(["sample", str(tmp_path / "run"), "--n", "40"]) == 0
        trees = read_trees(tmp_path / "run" / "samples" / f"more-{number}.trees", TAXA)
        assert len(trees.trees) == 40 and float(trees.weights.sum()) == pytest.approx(1.0)
    assert cli.main(["report", str(tmp_path / "run")]) == 0


def test_programs_that_are_absent_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    flags = ["--method", "mcmc", "--programs.generations", "1000"]
    assert run(tmp_path / "run", *flags) == 0
    said = (tmp_path / "run" / "report.html").read_text()
    assert "MrBayes (mb) is not on the PATH" in said and "apt install iqtree" in said


def test_presets_grow_with_the_alignment(tmp_path: Path):
    rows = [f">t{i}\nACGT\n" for i in range(40)]
    (tmp_path / "many.fasta").write_text("".join(rows))
    for target in ("posterior", "parsimony"):
        small = preset("laptop", target)
        large = preset("laptop", target, None, str(tmp_path / "many.fasta"))
        assert large.steps > small.steps
        for name in ("smoke", "paper"):
            assert preset(name, target).target == target
    assert preset("laptop", "posterior", "mcmc").method == "mcmc"

"""`workbench cells run`: files, figures, validation and control, resuming, input that is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from pipelines import cells
from pipelines.cells.options import FateOptions, NetworkOptions, SimulatorOptions
from pipelines.cells.validation import first_within
from pipelines.cli import main
from tests.pipelines.finished import TIMINGS, blank_picture
from workbench.errors import InputError

TINY = replace(
    cells.preset("smoke"),
    steps=30,
    width=16,
    eval_cells=20,
    repeats=2,
    bootstrap=20,
    trajectories=6,
    frames=2,
    imputed_cells=10,
    fates=FateOptions(paths=2, cells=10),
)


def figures(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Only the shared run below draws."""
    monkeypatch.setattr("pipelines.cells.presentation.save", blank_picture)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cells") / "run"
    config = replace(TINY, method=("otcfm", "auto"), candidates=("midpoint", "otcfm"))
    return cells.run(replace(config, save_couplings=True), out)


def test_the_figures_that_others_rely_on(embedded):
    found = figures(embedded)
    for method in ("otcfm", "auto", "midpoint", "midpoint_index", "previous", "next"):
        for time in ("24", "48"):
            one = found[f"w1/{method}/{time}"]
            assert one["value"] > 0 and one["floor"] > 0 and one["n"] == 20
        assert found[f"w1_mean/{method}"]["value"] > 0
    low, high = found["w1_difference_to_midpoint/otcfm"]["interval"]
    assert low < found["w1_difference_to_midpoint/otcfm"]["value"] < high
    for name in ("path_energy", "seconds", "peak_memory_gib"):
        assert found[name]["value"] > 0
    assert found["growth_correlation"]["value"] is None and found["growth_correlation"]["why"]
    assert found["grn_auroc"]["value"] is None


def test_the_files_hold_velocities_and_truths_of_shape(embedded):
    data = anndata.read_h5ad(embedded / "samples" / "cells.h5ad")
    assert data.shape == (271, 1000)
    assert data.obsm["X_velocity_latent"].shape == data.obsm["X_latent"].shape == (271, 5)
    velocity = data.obsm["X_velocity_latent"] @ data.varm["PCs"].T
    np.testing.assert_allclose(data.layers["velocity"], velocity, atol=1e-5)
    assert data.uns["workbench"]["time_unit"] == "h"
    coupling = data.obsp["coupling"]
    hours = data.obs["hours"].to_numpy()
    rows, columns = coupling.nonzero()
    assert (hours[columns] - hours[rows] == 24).all()
    np.testing.assert_allclose(coupling.sum(), 3.0, rtol=1e-6)
    fates = data.obsm["fate_probabilities"]
    known = ~np.isnan(fates[:, 0])
    np.testing.assert_allclose(fates[known].sum(1), 1.0)
    assert known[hours == 72].all() and known.sum() == 30 + 49

    paths = anndata.read_h5ad(embedded / "samples" / "trajectories.h5ad")
    assert paths.obs["trajectory"].nunique() == 6
    first = paths.obs["time"][paths.obs["trajectory"] == 0].tolist()
    assert first == [0, 12, 24, 36, 48, 60, 72]
    imputed = anndata.read_h5ad(embedded / "samples" / "imputed.h5ad")
    assert sorted(imputed.obs["time"].unique()) == [12, 36, 60]
    assert imputed.layers["std"].shape == imputed.shape == (30, 1000)
    assert float(imputed.obsm["X_latent_std"].min()) >= 0


def test_the_velocity_is_the_change_per_time_unit(embedded):
    """Trajectories move by velocity times hours: a factor between units would show."""
    data = anndata.read_h5ad(embedded / "samples" / "cells.h5ad")
    paths = anndata.read_h5ad(embedded / "samples" / "trajectories.h5ad")
    x = paths.obsm["X_latent"].reshape(6, 7, 5)
    speed = np.linalg.norm(x[:, 1] - x[:, 0], axis=1).mean() / 12
    start = data.obs["hours"].to_numpy() == 0
    mean = np.linalg.norm(data.obsm["X_velocity_latent"][start], axis=1).mean()
    assert 1 / 3 < speed / mean < 3


def test_the_report_says_who_wins(embedded):
    page = (embedded / "report.html").read_text()
    assert "midpoint: the exact transport plan" in page
    assert "otcfm is worse than the midpoint" in page or "otcfm is better" in page or (
        "otcfm cannot be told from the midpoint" in page
    )  # fmt: skip
    assert (embedded / "figures" / "w1.svg").exists()


def test_more_trajectories(embedded):
    path = cells.sample(embedded, 4)
    assert anndata.read_h5ad(path).obs["trajectory"].nunique() == 4
    assert path.name == "more-1.h5ad"


def test_a_run_that_lost_its_end_gives_the_same_figures(embedded):
    before = figures(embedded)
    for name in ("metrics.json", "report.html"):
        (embedded / name).unlink()
    removed = sorted((embedded / "checkpoints" / "folds").glob("*.npz"))[0]
    removed.unlink()
    cells.resume(embedded)
    after = figures(embedded)
    for name in before:
        if name.split("/")[0] not in (*TIMINGS, "peak_memory_gib"):
            assert after[name] == before[name], name


@pytest.mark.parametrize("method", ["icfm", "sbcfm", "sf2m", "spline", "alicfm", "unbalanced"])
def test_every_method_runs_on_the_simulator(method, tmp_path):
    adversarial = replace(TINY.adversarial, pretrain_steps=5, steps=5)
    config = replace(
        TINY,
        method=(method,),
        simulate="toggle-with-growth",
        simulator=SimulatorOptions(cells=40, times=(0.0, 1.0, 2.0, 2.5)),
        holdout=("1",),
        adversarial=adversarial,
        ensemble=1,
    )
    found = figures(cells.run(config, tmp_path / "run"))
    assert found[f"w1_mean/{method}"]["value"] > 0
    assert found["velocity_cosine"]["value"] is not None
    has_growth = found["growth_correlation"]["value"] is not None
    assert has_growth == (method == "unbalanced")


def test_a_network_is_read_and_ranked(tmp_path):
    config = replace(
        TINY,
        simulate="switch",
        simulator=SimulatorOptions(cells=40),
        holdout=("none",),
        network=NetworkOptions(read=True, seeds=2, steps=20, estimates=2),
    )
    with pytest.raises(InputError, match="every possible one"):
        cells.run(config, tmp_path / "switch")
    out = cells.run(replace(config, simulate="trifurcation"), tmp_path / "run")
    found = figures(out)
    one = found["grn_auroc"]
    assert 0 <= one["value"] <= 1 and one["baseline"] > 0 and one["n"] == 2
    assert one["interval"][0] <= one["value"] <= one["interval"][1]
    spearman = one["value"] - found["grn_auroc_difference/spearman"]["value"]
    assert 0 < spearman <= one["baseline"] + 1e-9
    assert found["grn_ap_difference/trees"]["interval"] is not None
    assert found["plan_marginal_error"]["value"] < 1e-6
    assert found["w1_mean/otcfm"]["why"] == "no time was held out"
    assert (out / "figures" / "network.png").exists()


def test_auto_prefers_the_first_that_is_nearly_best():
    scores = {"midpoint": 1.015, "otcfm": 1.0, "sf2m": 0.999}
    assert first_within(scores, ("midpoint", "otcfm", "sf2m")) == "midpoint"
    assert first_within(scores | {"midpoint": 1.2}, ("midpoint", "otcfm", "sf2m")) == "otcfm"


@pytest.fixture
def file(tmp_path) -> Path:
    values = np.random.default_rng(0).poisson(2.0, (60, 12)).astype(np.float32)
    days = pd.Categorical(np.repeat(["d0", "d1", "d2"], 20), ["d0", "d1", "d2"], ordered=True)
    obs = pd.DataFrame({"day": days, "donor": ["a", "b"] * 30}, index=[f"c{i}" for i in range(60)])
    data = anndata.AnnData(values, obs=obs)
    data.obsm["X_given"] = values[:, :2]
    path = tmp_path / "given.h5ad"
    data.write_h5ad(path)
    return path


def test_a_given_representation_is_marked_and_has_no_genes(file, tmp_path):
    config = replace(TINY, input=file, time_key="day", use_rep="X_given", batch_key="donor")
    out = cells.run(replace(config, holdout=("d1",), method=("midpoint",)), tmp_path / "run")
    data = anndata.read_h5ad(out / "samples" / "cells.h5ad")
    assert "velocity" not in data.layers
    assert data.obsm["X_velocity_latent"].shape == (60, 2)
    assert "has seen the held-out cells" in (out / "report.html").read_text()
    found = figures(out)
    assert found["w1_between_batches/d1"]["value"] > 0
    assert found["w1/midpoint/d1"]["value"] > 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--time-key", "dya"], 'no column "dya"'),
        ([], "--time-key is missing"),
        (["--time-key", "day", "--use-rep", "X_umap"], 'no representation "X_umap"'),
        (["--time-key", "day", "--holdout", "d0"], "first or last"),
        (["--time-key", "day", "--holdout", "d9"], 'no time "d9"'),
        (["--time-key", "day", "--holdout", "all", "d1"], "give all, none, or times alone"),
        (["--time-key", "day", "--population", "1", "2"], "2 population sizes for 3 times"),
        (["--time-key", "day", "--growth-key", "g"], 'no growth column "g"'),
        (["--time-key", "day", "--simulate", "cycle"], "--input and --simulate"),
        (["--time-key", "day", "--method", "otcmf"], "otcmf"),
        (["--time-key", "day", "--device", "cuda"], "finds no CUDA device here"),
        (["--time-key", "day", "--method", "alicfm"], "alicfm needs 3 times"),
        (["--time-key", "day", "--unbalanced.mass-source", "given"], "needs population sizes"),
    ],
)
def test_bad_input_ends_in_one_sentence(file, tmp_path, capsys, flags, words):
    out = tmp_path / "run"
    code = main(["cells", "run", "--input", str(file), "--out", str(out), *flags])
    error = capsys.readouterr().err
    assert code == 2 and words in error and error.count("\n") == 1
    assert not out.exists()


def test_simulated_cells_are_a_file_to_run_on(tmp_path, capsys):
    path = tmp_path / "cells.h5ad"
    command = [
        "cells",
        "simulate",
        "--circuit",
        "switch",
        "--cells",
        "30",
        "--times",
        "0",
        "1",
        "2",
    ]
    command += ["--readouts", "6", "--out", str(path)]
    assert main([*command, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["cells"] == 90 and about["genes"] == 8 and about["times"] == [0, 1, 2]
    data = anndata.read_h5ad(path)
    assert data.obs["time"].value_counts().tolist() == [30, 30, 30]
    assert (data.X >= 0).all() and data.var_names[-1] == "readout5"
    np.testing.assert_array_equal(data.X[:, :2], data.obsm["X_expression"])
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["cells", "simulate", "--circuit", "swich", "--out", "x.h5ad"]) == 2
    assert "swich" in capsys.readouterr().err
    assert main(["cells", "simulate", "--cells", "2", "--out", "x.h5ad"]) == 2
    assert "give 5 or more" in capsys.readouterr().err
    config = replace(TINY, input=path, time_key="time", steps=5, ensemble=1)
    assert figures(cells.run(config, tmp_path / "run"))["w1_mean/otcfm"]["value"] > 0


def test_shuffled_labels_give_no_winner(tmp_path):
    config = replace(TINY, shuffle_times=True, steps=60, bootstrap=30)
    out = cells.run(config, tmp_path / "run")
    assert figures(out)["w1_room"]["value"] > 0.9
    assert "is better than the midpoint" not in (out / "report.html").read_text()


def test_workers_give_what_one_process_gives(tmp_path):
    config = replace(TINY, steps=10, ensemble=1)
    one = figures(cells.run(config, tmp_path / "one"))
    two = figures(cells.run(replace(config, processes=2), tmp_path / "two"))
    assert one["w1_mean/otcfm"] == two["w1_mean/otcfm"]
    assert torch.get_num_threads() == 1

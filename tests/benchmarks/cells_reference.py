"""Cells by the command line: held-out W1 on the reference time courses and the simulator, network recovery.

    WORKBENCH_DATA=FOLDER python -m tests.benchmarks.cells_reference OUT [NAME...] [-- FLAGS]

Runs `workbench cells run` for each NAME (default: emt guo hsmm mef cycle) into OUT/NAME, or reads the run that
is there, and prints a row per method: W1 per held-out time and on average, and the paired difference to the
midpoint. FLAGS are added to every command, as in `-- --shuffle-times`. Five seeds; `auto` chooses within the
training times. Tables that are no .h5ad are rewritten as one: expression in X, the time in obs. Guo's stages
are counted in doublings, log2 of the number of cells. dyn-BF and dyn-CY give AUROC and average precision of
ten networks of eight fits each beside Spearman and trees; their settings were chosen on dyn-BF. toggle gives
inferred against true growth.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from pipelines.cli import main as workbench

COMMON = "--seeds 5 --steps 500 --ensemble 1 --trajectories 20"
METHODS = "--method auto otcfm --candidates midpoint otcfm spline"
DEFAULT = ("emt", "guo", "hsmm", "mef", "cycle")
NETWORK = (
    "--time-key time --time-bins 20 --normalise none --holdout none --method otcfm --steps 100 "
    "--network.read --network.estimates 10"
)
FLAGS = {
    "emt": f"--time-key samples --normalise none --n-components 10 {METHODS}",
    "guo": f"--time-key doublings --normalise none {METHODS}",
    "hsmm": f"--time-key hours --time-unit h {METHODS}",
    "mef": f"--time-key day --time-unit days {METHODS}",
    "cycle": "--simulate cycle --method spline otcfm",
    "knot": (
        "--simulate knot --simulator.cells 200 --holdout 2.5 --method otcfm alicfm --seeds 2 --steps 300 "
        "--batch 64 --adversarial.pretrain-steps 800 --adversarial.steps 200"
    ),
    "toggle": "--simulate toggle-with-growth --simulator.cells 1000 --method unbalanced --holdout none",
    "dyn-BF": NETWORK,
    "dyn-CY": NETWORK,
}
FILES = {
    "emt": "emt_a549_tgfb_10d.csv",
    "guo": "guo2010_mouse_embryo_qpcr.csv",
    "hsmm": "hsmm_myoblast_timecourse.h5ad",
    "mef": "moscot_mef_reprogramming_250cells.h5ad",
    "dyn-BF": "grn/dyn-BF/dyn-BF-1000-1/ExpressionData.csv",
    "dyn-CY": "grn/dyn-CY/dyn-CY-1000-1/ExpressionData.csv",
}


def input_file(name: str, out: Path) -> Path:
    """The .h5ad of a reference time course, made from its table where it is one."""
    source = Path(os.environ["WORKBENCH_DATA"]) / "cells" / FILES[name]
    if source.suffix == ".h5ad":
        return source
    path = out / f"{name}.h5ad"
    if name in ("dyn-BF", "dyn-CY"):  # genes in rows; cells are called E<number>_<time>
        table = pd.read_csv(source, index_col=0).T
        when = [float(cell.split("_")[1]) for cell in table.index]
        obs = pd.DataFrame({"time": when}, index=table.index)
        data = AnnData(table.to_numpy("float32"), obs, pd.DataFrame(index=table.columns))
        data.uns["network"] = pd.read_csv(source.parent / "refNetwork.csv")
        data.write_h5ad(path)
        return path
    table = pd.read_csv(source)
    first = {"emt": 1, "guo": 2}[name]
    obs = table.iloc[:, :first].copy()
    if name == "guo":
        obs["doublings"] = np.log2(obs["num_cells"])
    obs.index = pd.Index([f"cell{i}" for i in range(len(obs))])
    values = table.iloc[:, first:]
    AnnData(values.to_numpy("float32"), obs, pd.DataFrame(index=values.columns)).write_h5ad(path)
    return path


def run(name: str, out: Path, extra: list[str]) -> dict[str, Any]:
    """The figures of the finished run."""
    folder = out / "-".join([name, *(word.strip("-") for word in extra)])
    if not (folder / "metrics.json").exists():
        given = ["--input", str(input_file(name, out))] if name in FILES else []
        asked = f"{COMMON} {FLAGS[name]}".split()
        command = ["cells", "run", *given, *asked, *extra, "--out", str(folder)]
        if (folder / "config.yaml").exists():
            command = ["resume", str(folder)]
        if workbench(command) != 0:
            sys.exit(f"failed: workbench {' '.join(command)}")
    return json.loads((folder / "metrics.json").read_text())


def rows(name: str, figures: dict[str, Any]) -> list[str]:
    if "--holdout none" in FLAGS[name]:  # nothing is held out: what is known of network and growth
        known = [key for key in figures if key.startswith(("grn_", "growth_"))]
        return [f"{name} {key}: {_told(figures[key])}" for key in known]
    means = [key.split("/")[1] for key in figures if key.startswith("w1_mean/")]
    times = [key.split("/")[2] for key in figures if key.startswith("w1/midpoint/")]
    floor = [figures[f"w1/midpoint/{t}"]["floor"] for t in times]
    lines = [_line(name, "floor", [*floor, figures["w1_mean/midpoint"]["floor"]])]
    for method in means:
        values = [figures[f"w1/{method}/{t}"]["value"] for t in times]
        line = _line(name, method, [*values, figures[f"w1_mean/{method}"]["value"]])
        if (paired := figures.get(f"w1_difference_to_midpoint/{method}")) is not None:
            low, high = paired["interval"]
            share = 100 * paired["value"] / figures["w1_mean/midpoint"]["value"]
            line += f"  {paired['value']:+.4f} ({low:+.4f} to {high:+.4f}), {share:+.1f} %"
        lines.append(line)
    return lines


def _told(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return str(figure["why"])
    told = f"{figure['value']:.3f}"
    if (interval := figure.get("interval")) is not None:
        told += f" +- {figure['stderr']:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
    if figure["baseline"] is not None:
        told += f", baseline {figure['baseline']:.3f}"
    return told


def _line(name: str, method: str, values: list[float]) -> str:
    return f"{name:6} {method:15}" + "".join(f"{value:9.4g}" for value in values)


def main(arguments: list[str]) -> None:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    (place, *names), extra = arguments[:split], arguments[split + 1 :]
    out = Path(place)
    out.mkdir(parents=True, exist_ok=True)
    for name in names or DEFAULT:
        print("\n".join(rows(name, run(name, out, extra))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The written files go through scvelo and cellrank without hand-work, in an environment of their own.

The environment `.venv-bench/scvelo` is made on first use (PIP_ARGS in the environment is passed to pip):
their pins of NumPy and pandas conflict with ours.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import cells

PLACE = Path(__file__).parents[2] / ".venv-bench" / "scvelo"
# cellrank 2.0.7 calls NumPy by argument names that 2.4 no longer has
PEERS = ["scvelo==0.3.4", "cellrank==2.0.7", "numpy<2.4"]
SCRIPT = """
import sys, anndata, numpy as np
import scvelo as scv
data = anndata.read_h5ad(sys.argv[1])
scv.tl.velocity_graph(data, n_jobs=1, show_progress_bar=False)
scv.pl.velocity_embedding_stream(data, basis="pca", show=False, save=sys.argv[2])
assert np.isfinite(data.obsm["velocity_pca"]).all()
import cellrank as cr
kernel = cr.kernels.VelocityKernel(
    data, attr="obsm", xkey="X_latent", vkey="X_velocity_latent"
)
kernel.compute_transition_matrix(show_progress_bar=False)
rows = np.asarray(kernel.transition_matrix.sum(1)).ravel()
assert np.allclose(rows, 1.0), rows
print("fine")
"""


def peer_python() -> Path:
    python = PLACE / "bin" / "python"
    if not (PLACE / "done").exists():
        venv.create(PLACE, with_pip=True, clear=True)
        extra = shlex.split(os.environ.get("PIP_ARGS", ""))
        subprocess.run([str(python), "-m", "pip", "install", "-q", *extra, *PEERS], check=True)
        (PLACE / "done").touch()
    return python


@pytest.mark.slow
def test_scvelo_and_cellrank_take_the_file_as_it_is(tmp_path):
    config = replace(
        cells.preset("smoke"), holdout=("none",), steps=300, ensemble=1, trajectories=4
    )
    out = cells.run(config, tmp_path / "run")
    script = tmp_path / "peers.py"
    script.write_text(SCRIPT)
    picture = tmp_path / "stream.png"
    command = [str(peer_python()), str(script), str(out / "samples" / "cells.h5ad"), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("fine")
    assert picture.exists()

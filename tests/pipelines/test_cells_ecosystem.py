"""The written cells go through scvelo's embedding stream and cellrank's VelocityKernel without hand-work.

Both need an older NumPy than ours, so they run in an environment of their own, `.venv-bench/scvelo` beside the
repository, made on first use; PIP_ARGS in the environment is passed to pip. Where it cannot be installed the
test skips with pip's last line.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import cells

PLACE = Path(__file__).parents[2] / ".venv-bench" / "scvelo"
# cellrank 2.0.7 calls NumPy by argument names that later ones no longer have.
PEERS = ["scvelo==0.3.4", "cellrank==2.0.7", "numpy<2"]
SCRIPT = """
import json, sys
import anndata, numpy as np, scvelo
data = anndata.read_h5ad(sys.argv[1])
scvelo.tl.velocity_graph(data, n_jobs=1, show_progress_bar=False)
scvelo.pl.velocity_embedding_stream(data, basis="pca", show=False, save=sys.argv[2])
import cellrank
kernel = cellrank.kernels.VelocityKernel(
    data, attr="obsm", xkey="X_latent", vkey="X_velocity_latent"
)
kernel.compute_transition_matrix(show_progress_bar=False)
matrix = kernel.transition_matrix.tocsr()
hours = data.obs["hours"].to_numpy()
begins = hours == hours.min()
print(json.dumps({
    "cells": data.n_obs,
    "shape": matrix.shape,
    "rows": np.asarray(matrix.sum(1)).ravel().tolist(),
    "smallest": float(matrix.data.min()),
    "moves": int((matrix - matrix.multiply(np.eye(len(hours)))).count_nonzero()),
    "later": float(((matrix @ hours) - hours)[begins].mean()),
    "stream_is_finite": bool(np.isfinite(data.obsm["velocity_pca"]).all()),
}))
"""


def peer_python() -> Path:
    """The interpreter of the environment; skips the test where it cannot be made."""
    python, made = PLACE / "bin" / "python", PLACE / "installed"
    if not made.exists() or made.read_text() != " ".join(PEERS):
        venv.create(PLACE, with_pip=True, clear=True)
        extra = shlex.split(os.environ.get("PIP_ARGS", ""))
        command = [str(python), "-m", "pip", "install", "-q", *extra, *PEERS]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"scvelo and cellrank cannot be installed here: {reason}")
        made.write_text(" ".join(PEERS))
    return python


@pytest.mark.slow
def test_scvelo_and_cellrank_take_the_file_as_it_is(tmp_path):
    config = replace(
        cells.preset("smoke"), holdout=("none",), steps=300, ensemble=1, trajectories=4
    )
    out = cells.run(config, tmp_path / "run")
    script, picture = tmp_path / "peers.py", tmp_path / "stream.png"
    script.write_text(SCRIPT)
    command = [str(peer_python()), str(script), str(out / "samples" / "cells.h5ad"), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["stream_is_finite"] and picture.stat().st_size > 10_000
    assert found["shape"] == [found["cells"], found["cells"]] == [271, 271]
    assert found["rows"] == pytest.approx([1.0] * 271) and found["smallest"] >= 0
    assert found["moves"] > 10 * 271
    assert found["later"] > 0  # myoblasts of hour 0 become later ones

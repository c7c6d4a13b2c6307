"""Rebuild hsmm-myoblasts.h5ad from Debian's package r-bioc-hsmmsinglecell 1.18.0-1.

    apt-get download r-bioc-hsmmsinglecell
    pip install rdata xarray
    python -m domains.cells.data.make_hsmm_myoblasts r-bioc-hsmmsinglecell_1.18.0-1_all.deb

Keeps the 1,000 genes that vary most *within* times, so that the choice of genes has not looked at how
times differ, and of each cell the sum over all genes, for normalisation by the whole cell.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import rdata
from anndata import AnnData
from scipy import sparse

from domains.cells.representation import TARGET_SUM, scaled_dispersion

SHA256 = "ae4c4323c5a18f9bf37a2f493c704610622323dd195cb11f5ef121bda36ad1be"
N_GENES = 1000
FEWEST_CELLS = 10
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="the .deb file")
    package = parser.parse_args().package
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{package} has sha256 {digest}, not {SHA256}: take version 1.18.0-1")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        data = Path(folder) / "usr/lib/R/site-library/HSMMSingleCell/data"
        expression, cells, genes = (
            rdata.read_rda(data / f"HSMM_{name}.rda")[f"HSMM_{name}"]
            for name in ("expr_matrix", "sample_sheet", "gene_annotation")
        )
    write(frame(expression).T, frame(cells), frame(genes))


def frame(table: object) -> pd.DataFrame:
    """A matrix or data frame of R as a DataFrame."""
    return table if isinstance(table, pd.DataFrame) else table.to_pandas()  # type: ignore[attr-defined]


def write(fpkm: pd.DataFrame, cells: pd.DataFrame, genes: pd.DataFrame) -> None:
    hours = cells.loc[fpkm.index, "Hours"].astype(int).to_numpy()
    values = fpkm.to_numpy(dtype=np.float64)
    totals = values.sum(1)
    scaled = values * (TARGET_SUM / totals)[:, None]
    seen = (values > 0).sum(0) >= FEWEST_CELLS
    within = np.stack([scaled[hours == hour].var(0) for hour in np.unique(hours)])
    score = np.where(seen, scaled_dispersion(scaled.mean(0), within.mean(0)), -np.inf)
    kept = np.sort(np.argsort(-score, kind="stable")[:N_GENES])
    ids = pd.Index(fpkm.columns[kept], name=None)
    obs = pd.DataFrame({"hours": hours.astype(float)}, index=fpkm.index)
    obs["media"] = pd.Categorical(cells.loc[fpkm.index, "Media"].astype(str))
    symbols = pd.Index(genes.loc[ids, "gene_short_name"].astype(str).to_numpy())
    var = pd.DataFrame({"gene_id": ids.to_numpy()}, index=symbols)
    logs = np.log1p(scaled[:, kept]).astype(np.float32)
    data = AnnData(sparse.csr_matrix(logs), obs=obs, var=var)
    data.var_names_make_unique()
    data.obs["total_fpkm"] = totals.astype(np.float32)
    data.uns["origin"] = (
        "r-bioc-hsmmsinglecell 1.18.0-1 (Debian), Artistic-2.0, Trapnell et al. 2014"
    )
    data.uns["values"] = "log(1 + FPKM per 10,000 of the whole cell)"
    data.write_h5ad(HERE / "hsmm-myoblasts.h5ad", compression="gzip", compression_opts=9)


if __name__ == "__main__":
    main()

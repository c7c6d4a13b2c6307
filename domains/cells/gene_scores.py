"""How well edge scores rank the true edges of a directed network, without self-edges.

AUROC and average precision, ties shared out evenly (AUROC) or taken as one step (precision).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.errors import InputError

_COLUMNS = (("source", "target"), ("Gene1", "Gene2"))


@dataclass(frozen=True)
class EdgeScore:
    """auroc, and average precision; `base` is the share of true edges, which chance reaches."""

    auroc: float
    average_precision: float
    base: float


def edge_score(
    scores: Float[np.ndarray, "source target"], truth: Float[np.ndarray, "source target"]
) -> EdgeScore:
    """Raises InputError where there is no true edge, or nothing but true edges."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    off = ~np.eye(len(truth), dtype=bool)
    labels, values = (truth[off] > 0).astype(int), np.abs(scores[off])
    if labels.min() == labels.max():
        raise InputError(
            "the true network has no edge, or every possible one: there is nothing to rank"
        )
    return EdgeScore(
        float(roc_auc_score(labels, values)),
        float(average_precision_score(labels, values)),
        float(labels.mean()),
    )


def read_edges(path: Path, genes: list[str]) -> Float[np.ndarray, "source target"]:
    """A CSV of true edges by columns source and target, or Gene1 and Gene2 (BoolODE's names). Raises
    InputError for other columns or where no edge is between `genes`."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the network {path} ({error})") from error
    return edges_of(table, genes, str(path))


def edges_of(
    table: pd.DataFrame, genes: list[str], name: str
) -> Float[np.ndarray, "source target"]:
    """The table of edges as a matrix over `genes`."""
    columns = next((pair for pair in _COLUMNS if set(pair) <= set(table.columns)), None)
    if columns is None:
        raise InputError(
            f"{name} has the columns {', '.join(map(str, table.columns))}: name them source and target"
        )
    place = {gene: i for i, gene in enumerate(genes)}
    truth = np.zeros((len(genes), len(genes)))
    for source, target in zip(
        table[columns[0]].astype(str), table[columns[1]].astype(str), strict=True
    ):
        if source in place and target in place:
            truth[place[source], place[target]] = 1.0
    if not truth.any():
        raise InputError(f"{name} has no edge between the {len(genes)} genes of the network")
    return truth

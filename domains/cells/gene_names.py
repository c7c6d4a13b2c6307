"""What readers call genes: symbols beside the identifiers that files use as names."""

from __future__ import annotations

import pandas as pd

_COLUMNS = ("gene_symbol", "gene_symbols", "gene_short_name", "gene_name", "symbol", "feature_name")


def symbols(var: pd.DataFrame) -> list[str]:
    """A symbol per gene: of the first column of `var` that is called as one, else its name; its name too where
    the symbol is missing or not its alone."""
    names = [str(name) for name in var.index]
    column = next((c for c in _COLUMNS if c in var), None)
    if column is None:
        return names
    found = var[column].astype("string").fillna("").str.strip()
    alone = ~found.duplicated(keep=False) & (found != "")
    return [str(s) if one else name for s, one, name in zip(found, alone, names, strict=True)]

"""Symbols of genes for readers."""

import pandas as pd

from domains.cells.gene_names import symbols


def test_names_where_there_are_no_symbols():
    assert symbols(pd.DataFrame(index=["a", "b"])) == ["a", "b"]


def test_a_missing_or_shared_symbol_gives_way_to_the_name():
    var = pd.DataFrame(
        {"gene_short_name": ["MYOG", None, "X", "X", " "]}, index=["g1", "g2", "g3", "g4", "g5"]
    )
    assert symbols(var) == ["MYOG", "g2", "g3", "g4", "g5"]


def test_symbols_may_be_categories():
    var = pd.DataFrame({"symbol": pd.Categorical(["A", "B"])}, index=["g1", "g2"])
    assert symbols(var) == ["A", "B"]

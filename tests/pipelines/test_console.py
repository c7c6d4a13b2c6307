"""Numbers as the command line prints them."""

from __future__ import annotations

import pytest

from pipelines.console import short


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (None, None, ""),
        (4334976, None, "4334976"),
        (0.123456, None, "0.1235"),
        (-43.0381, 0.0612, "-43.04"),
        (-1481.95651, 0.000275, "-1481.9565"),
        (1.0, 1e-30, "1"),
        (0.0, 0.1, "0"),
    ],
)
def test_digits_reach_the_error(number, error, text):
    assert short(number, error) == text

"""The one exception a user meets: bad input, in one sentence with its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """What was given cannot be used. The message is one sentence that names the value and the
    remedy; the command line prints it alone and exits with code 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: ` (did you mean "x"?)`, or an empty string where nothing is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""

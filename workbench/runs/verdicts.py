"""How a figure is judged against what it can be judged by, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.runs.metrics import Figure

TOLERANCE_STANDARD_ERRORS = 3.0
FLOOR_FACTOR = 2.0
ABSENT = "-"
_MOST_PLACES = 8


@dataclass(frozen=True)
class Verdict:
    """good   within tolerance of the reference or the floor; None = there is nothing to judge by"""

    good: bool | None
    words: list[str] = field(default_factory=list)


def is_cost(name: str) -> bool:
    """Whether the figure of this name says what a run took, which is neither good nor bad by itself."""
    return name.split("/")[0] in ("seconds", "cpu_seconds", "seconds_total") or (
        name.startswith("n_") and name.endswith("_evaluations")
    )


def judge(name: str, figure: Figure, higher_is_better: bool = False) -> Verdict:
    """Against the reference (in standard errors), the noise floor and the classical baseline. A cost is
    set in proportion to the baseline's.

    A floor beside a reference is the standard error of the reference, and adds to the figure's own.

    A figure with a floor or a reference of its own is better when it is nearer; any other is better
    when it is lower, or higher where `higher_is_better`.
    """
    if figure.value is None:
        return Verdict(None, [f"not computed: {figure.why}"])
    if is_cost(name):
        if not figure.baseline:
            return Verdict(None)
        return Verdict(None, [f"{figure.value / figure.baseline:.3g} x the baseline's"])
    good, words = None, []
    if figure.reference is not None:
        error = math.hypot(figure.stderr or 0.0, figure.floor or 0.0)
        good, sentence = _against_reference(figure.value, error, figure.reference)
        words.append(sentence)
    elif figure.floor is not None:
        good, sentence = _against_floor(figure.value, figure.floor, higher_is_better)
        words.append(sentence)
    if figure.baseline is not None:
        words.append(_against_baseline(figure, higher_is_better))
    return Verdict(good, words)


def _against_reference(
    value: float, stderr: float | None, reference: float
) -> tuple[bool | None, str]:
    distance = abs(value - reference)
    if not stderr:
        if math.isclose(value, reference):
            return True, "equals the reference"
        # a count must be exact; of a float without an error nobody can tell how far is too far
        good = False if isinstance(value, int) else None
        return good, f"{distance:.3g} from the reference"
    errors = distance / stderr
    if errors <= TOLERANCE_STANDARD_ERRORS:
        return True, f"agrees with the reference ({errors:.1f} standard errors)"
    return False, f"DISAGREES with the reference ({errors:.1f} standard errors)"


def _against_floor(value: float, floor: float, higher_is_better: bool) -> tuple[bool, str]:
    """A floor is what true samples give: distances lie above it, agreement (a p-value) below."""
    if higher_is_better:
        good = FLOOR_FACTOR * value >= floor
        return good, "at the noise floor" if good else "below what true samples give"
    if value <= FLOOR_FACTOR * floor:
        return True, "at the noise floor"
    return False, f"{value / floor:.3g} x the noise floor" if floor > 0 else "above the floor"


def _against_baseline(figure: Figure, higher_is_better: bool) -> str:
    assert figure.value is not None and figure.baseline is not None
    if figure.reference is not None:
        ours, theirs = abs(figure.value - figure.reference), abs(figure.baseline - figure.reference)
        margin = figure.stderr or 0.0
    elif higher_is_better:
        ours, theirs, margin = -figure.value, -figure.baseline, figure.stderr or 0.0
    else:
        ours, theirs, margin = figure.value, figure.baseline, figure.stderr or 0.0
    if abs(ours - theirs) <= margin:
        return "as good as the classical baseline"
    if ours < theirs:
        return "better than the classical baseline"
    return "the classical baseline is better"


def summary(figures: Mapping[str, Figure], higher_is_better: frozenset[str]) -> list[str]:
    """The sentences a report opens with: how many figures can be judged, and which fail."""
    verdicts = {name: judge(name, f, name in higher_is_better) for name, f in figures.items()}
    judged = {name: verdict for name, verdict in verdicts.items() if verdict.good is not None}
    failing = [name for name, verdict in judged.items() if not verdict.good]
    missing = [name for name, figure in figures.items() if figure.value is None]
    beaten = [n for n, v in verdicts.items() if "the classical baseline is better" in v.words]
    agree = (
        f"{len(judged) - len(failing)} of {len(judged)} figures that have a known answer or a "
        f"noise floor agree with it (within {TOLERANCE_STANDARD_ERRORS:.0f} standard errors of the "
        f"answer, or {FLOOR_FACTOR:.0f} times the floor)."
    )
    lines = [agree if judged else "No figure has a known answer or a noise floor to be judged by."]
    for names, what in (
        (failing, "Not in agreement"),
        (beaten, "The classical baseline is better at the same cost in"),
        (missing, "Not computed"),
    ):
        if names:
            lines.append(f"{what}: {', '.join(names)}.")
    return lines


def format_value(value: float | int | None, stderr: float | None = None) -> str:
    """`-42.93 ± 0.02`: the error to two digits, the value to the same place."""
    if value is None or not stderr:
        return format_beside(value, None)
    places = _places(stderr)
    if places > _MOST_PLACES or abs(value) >= 1e9:
        digits = max(
            1, 2 + math.floor(math.log10(abs(value) or stderr)) - math.floor(math.log10(stderr))
        )
        return f"{value:.{min(digits, 6)}g} ± {stderr:.2g}"
    return f"{value:,.{places}f} ± {stderr:.{places}f}"


def format_beside(number: float | int | None, stderr: float | None) -> str:
    """A number to compare a value of this error with, to the same place; without one, four digits."""
    if number is None:
        return ABSENT
    if stderr and _places(stderr) <= _MOST_PLACES and abs(number) < 1e9:
        return f"{number:,.{_places(stderr)}f}"
    return f"{number:,d}" if isinstance(number, int) else f"{number:.4g}"


def _places(stderr: float) -> int:
    """Decimal places down to the second digit of the error."""
    return max(0, 1 - math.floor(math.log10(stderr)))

"""Energies with known answers: log Z, mean energy and exact samples for each.

`named("gmm40")` gives one by the name that the command line uses; `NAMES` lists them.
"""

from __future__ import annotations

from collections.abc import Callable

from domains.synthetic.funnel import Funnel
from domains.synthetic.gaussian_mixture import GaussianMixture
from domains.synthetic.many_well import ManyWell
from workbench.errors import InputError, nearest

_MAKERS: dict[str, Callable[[], GaussianMixture | Funnel | ManyWell]] = {
    "gmm40": GaussianMixture.forty,
    "gmm25": GaussianMixture.twenty_five,
    "funnel-easy": Funnel.easy,
    "funnel-hard": Funnel.hard,
    "many-well-32": ManyWell,
}
NAMES = tuple(_MAKERS)


def named(name: str) -> GaussianMixture | Funnel | ManyWell:
    """The synthetic energy of that name. Raises `InputError` naming the nearest where unknown."""
    if name not in _MAKERS:
        raise InputError(
            f'"{name}" is not a synthetic system{nearest(name, NAMES)}: '
            f"choose from {', '.join(NAMES)}."
        )
    return _MAKERS[name]()


__all__ = ["NAMES", "Funnel", "GaussianMixture", "ManyWell", "named"]

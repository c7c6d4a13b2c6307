"""Energies and environments with known answers: log Z, and exact samples or modes for each.

`named("gmm40")` gives an energy by the name that the command line uses; `NAMES` lists them.
`environment("hypergrid", height=8)` gives an environment, `ENVIRONMENT_NAMES` lists those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domains.synthetic.bit_sequences import BitSequences
from domains.synthetic.environment import SyntheticEnvironment
from domains.synthetic.funnel import Funnel
from domains.synthetic.gaussian_mixture import GaussianMixture
from domains.synthetic.hypergrid import Hypergrid
from domains.synthetic.many_well import ManyWell
from domains.synthetic.tree_building import TreeBuilding
from workbench.errors import InputError, nearest

_MAKERS: dict[str, Callable[[], GaussianMixture | Funnel | ManyWell]] = {
    "gmm40": GaussianMixture.forty,
    "gmm25": GaussianMixture.twenty_five,
    "funnel-easy": Funnel.easy,
    "funnel-hard": Funnel.hard,
    "many-well-32": ManyWell,
}
NAMES = tuple(_MAKERS)

_ENVIRONMENTS: dict[str, Callable[..., SyntheticEnvironment]] = {
    "hypergrid": Hypergrid,
    "bit-sequences": BitSequences,
    "tree-building": TreeBuilding,
}
ENVIRONMENT_NAMES = tuple(_ENVIRONMENTS)


def named(name: str) -> GaussianMixture | Funnel | ManyWell:
    """The synthetic energy of that name. Raises `InputError` naming the nearest where unknown."""
    if name not in _MAKERS:
        raise InputError(
            f'"{name}" is not a synthetic system{nearest(name, NAMES)}: '
            f"choose from {', '.join(NAMES)}."
        )
    return _MAKERS[name]()


def environment(name: str, **options: Any) -> SyntheticEnvironment:
    """The synthetic environment of that name. Raises `InputError` naming the nearest where unknown,
    and for options that it cannot have."""
    if name not in _ENVIRONMENTS:
        raise InputError(
            f'"{name}" is not a synthetic environment{nearest(name, ENVIRONMENT_NAMES)}: '
            f"choose from {', '.join(ENVIRONMENT_NAMES)}"
        )
    return _ENVIRONMENTS[name](**options)


__all__ = [
    "ENVIRONMENT_NAMES",
    "NAMES",
    "BitSequences",
    "Funnel",
    "GaussianMixture",
    "Hypergrid",
    "ManyWell",
    "SyntheticEnvironment",
    "TreeBuilding",
    "environment",
    "named",
]

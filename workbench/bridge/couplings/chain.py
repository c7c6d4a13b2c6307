"""Chained plans: one cell per time, each drawn given the one before (a Markov chain of couplings).

    i_0 ~ a,   i_{k+1} | i_k ~ pi_k(i_k, .) / pi_k(i_k, all)

the multi-marginal coupling glued from the plans of neighbouring snapshots.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from workbench.bridge.couplings.plan import Plan
from workbench.errors import InputError


class Chain:
    """The plans of neighbouring intervals, arranged for drawing whole chains."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        for first, second in itertools.pairwise(plans):
            if first.n_target != second.n_source:
                raise InputError(
                    f"a plan ends at {first.n_target} cells and the next starts at {second.n_source}: "
                    "give plans of neighbouring intervals"
                )
        self.start = plans[0]
        self.tables = [_ConditionalTable(plan) for plan in plans]

    def sample(self, n: int, generator: torch.Generator) -> Int[Tensor, "n time"]:
        """Rows of the cells of `n` chains in their snapshots."""
        index = [self.start.sample(n, generator)[0]]
        for table in self.tables:
            index.append(table.sample(index[-1], generator))
        return torch.stack(index, dim=1)


class _ConditionalTable:
    """Targets given sources: pairs sorted by source, cumulative mass of source i in [i, i + 1]."""

    def __init__(self, plan: Plan) -> None:
        order = torch.argsort(plan.source, stable=True)
        source, self.target = plan.source[order], plan.target[order]
        mass = plan.mass[order]
        total = torch.zeros(plan.n_source, dtype=torch.float64).index_add_(0, source, mass)
        self.first = torch.searchsorted(source, torch.arange(plan.n_source))
        self.last = torch.searchsorted(source, torch.arange(plan.n_source), right=True) - 1
        running = mass.cumsum(0)
        before = (
            running[self.first.clamp(max=len(mass) - 1)] - mass[self.first.clamp(max=len(mass) - 1)]
        )
        share = (running - before[source]) / total[source]
        self.cumulative = source.double() + share.clamp(max=1.0)

    def sample(self, source: Tensor, generator: torch.Generator) -> Tensor:
        if bool((self.last[source] < self.first[source]).any()):
            raise InputError(
                "a cell in a chain has no mass in the next plan: plans must share their marginals"
            )
        draw = torch.rand(len(source), generator=generator, dtype=torch.float64)
        rows = torch.searchsorted(self.cumulative, source + draw, right=True)
        return self.target[rows.clamp(self.first[source], self.last[source])]


def sample_chain(
    plans: Sequence[Plan], n: int, generator: torch.Generator
) -> Int[Tensor, "n time"]:
    """`n` chains through all snapshots; see `Chain`."""
    return Chain(plans).sample(n, generator)

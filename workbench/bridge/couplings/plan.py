"""A coupling of two snapshots as a list of pairs with masses, and the record of how it was solved.

`mass` sums to one for a balanced plan. An unbalanced plan holds a semi-coupling: `mass` is what leaves
the source of a pair and `target_mass` what arrives at its target.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.runs.files import full_disk

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """source, target   rows of the two snapshots, one pair each
    mass             of each pair, float64
    n_source, n_target   cells of the snapshots
    method           how it was made, in words for a report
    cost             sum of mass |x - y|^2 over the plan, squared data unit
    marginal_error   L1 distance of the two marginals from the wanted ones, the larger of both
    duality_gap      primal minus dual value of the problem solved, over the larger of both: how far
                     from the optimum the plan can be at most; zero where nothing was optimised
    converged        False never leaves this package
    iterations       of the solver
    epsilon          entropic regularisation for |x - y|^2; zero = none
    target_mass      of unbalanced plans
    """

    source: Int[Tensor, "pair"]
    target: Int[Tensor, "pair"]
    mass: Float[Tensor, "pair"]
    n_source: int
    n_target: int
    method: str
    cost: float
    marginal_error: float
    duality_gap: float
    converged: bool
    iterations: int
    epsilon: float = 0.0
    target_mass: Float[Tensor, "pair"] | None = None

    def sample(
        self, n: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
        """`n` pairs in proportion to their mass, with replacement, as rows of both snapshots."""
        cumulative = self.mass.cumsum(0)
        draw = torch.rand(n, generator=generator, dtype=torch.float64) * cumulative[-1]
        rows = torch.searchsorted(cumulative, draw, right=True).clamp_(max=len(self.mass) - 1)
        return self.source[rows], self.target[rows]

    def sparse(self) -> Any:
        """The plan as `scipy.sparse.csr_matrix` [n_source, n_target]."""
        from scipy.sparse import csr_matrix

        place = (self.source.numpy(), self.target.numpy())
        return csr_matrix((self.mass.numpy(), place), shape=(self.n_source, self.n_target))


def uniform(n: int, weights: Float[Tensor, "cell"] | None) -> Float[Tensor, "cell"]:
    """`weights` as float64 summing to one, equal where none are given. Raises InputError."""
    if weights is None:
        return torch.full((n,), 1.0 / n, dtype=torch.float64)
    weights = weights.double()
    total = float(weights.sum())
    if weights.shape != (n,) or not bool((weights >= 0).all()) or not 0 < total < float("inf"):
        raise InputError(
            f"weights of shape {tuple(weights.shape)} with sum {total:g} for {n} cells: give one "
            "finite, non-negative number per cell, not all zero"
        )
    return weights / total


def save_plan(path: Path, plan: Plan) -> None:
    """`plan` as an npz file, whole or not at all."""
    arrays: dict[str, Any] = {
        name: value.numpy() if isinstance(value, Tensor) else np.array(value)
        for name, value in vars(plan).items()
        if value is not None
    }
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, schema_version=np.array(SCHEMA_VERSION), **arrays)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise full_disk(path, error) from error


def load_plan(path: Path) -> Plan:
    """The plan that `save_plan` wrote. Raises InputError for a file of another kind."""
    try:
        with np.load(path) as file:
            stored = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a stored plan ({error}): remove it and solve again"
        ) from error
    if int(stored.pop("schema_version", -1)) != SCHEMA_VERSION:
        raise InputError(f"{path} is a plan of another version: remove it and solve again")
    values: dict[str, Any] = {
        name: torch.from_numpy(array) if array.ndim else array.item()
        for name, array in stored.items()
    }
    return Plan(**values)

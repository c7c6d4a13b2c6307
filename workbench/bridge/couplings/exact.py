"""Exact optimal transport between two snapshots.

    min_pi sum_ij pi_ij |x_i - y_j|^2,    pi 1 = a,  pi^T 1 = b,  pi >= 0

solved by the network simplex of POT (Flamary et al., POT: Python optimal transport, 2021); the plan has
at most n + m - 1 pairs. Beyond some thousand cells a side both snapshots are cut into random blocks of
equal weight and each pair of blocks is solved exactly: the marginals stay exact, the cost is a little
above the optimum, and the method says "exact in blocks".

The certificate is the gap to the dual value of the potentials after a c-transform, which makes them
feasible whatever the solver did. In blocks it certifies each block, not the whole.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.bridge.couplings.plan import Plan, uniform
from workbench.errors import InputError

LARGEST_DENSE = 12_000 * 12_000
GAP_ALLOWED = 1e-6


def exact_plan(
    x0: Float[Tensor, "source feature"],
    x1: Float[Tensor, "target feature"],
    weights0: Float[Tensor, "source"] | None = None,
    weights1: Float[Tensor, "target"] | None = None,
    *,
    block: int | None = None,
    generator: torch.Generator | None = None,
) -> Plan:
    """block   cells per block of the larger side; None = one problem over all cells

    Raises InputError where the problem would not fit into memory, where blocks are asked for without a
    generator, or where the solver did not reach the optimum."""
    a, b = uniform(len(x0), weights0), uniform(len(x1), weights1)
    if block is None or max(len(x0), len(x1)) <= block:
        return _solve(x0, x1, a, b)
    if generator is None:
        raise InputError("an exact plan in random blocks needs a generator: give one, or no block")
    return _in_blocks(x0, x1, a, b, block, generator)


def _in_blocks(
    x0: Tensor, x1: Tensor, a: Tensor, b: Tensor, block: int, generator: torch.Generator
) -> Plan:
    """Blocks share cells at their borders, so that every block has the same weight on both sides."""
    n_blocks = -(-max(len(x0), len(x1)) // block)
    left, right = (_cut(weights, n_blocks, generator) for weights in (a, b))
    parts = []
    for (rows0, w0), (rows1, w1) in zip(left, right, strict=True):
        plan = _solve(x0[rows0], x1[rows1], w0, w1)
        parts.append((plan, rows0[plan.source], rows1[plan.target]))
    return Plan(
        source=torch.cat([source for _, source, _ in parts]),
        target=torch.cat([target for _, _, target in parts]),
        mass=torch.cat([plan.mass for plan, _, _ in parts]) / n_blocks,
        n_source=len(x0),
        n_target=len(x1),
        method=f"exact in random blocks of {block}",
        cost=sum(plan.cost for plan, _, _ in parts) / n_blocks,
        marginal_error=max(plan.marginal_error for plan, _, _ in parts),
        duality_gap=max(plan.duality_gap for plan, _, _ in parts),
        converged=True,
        iterations=n_blocks,
    )


def _cut(weights: Tensor, n_blocks: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Rows and weights of `n_blocks` parts of equal total weight, of the cells in random order."""
    order = torch.randperm(len(weights), generator=generator)
    end = weights[order].cumsum(0)
    start = torch.cat([end.new_zeros(1), end[:-1]])
    edges = torch.linspace(0.0, float(end[-1]), n_blocks + 1, dtype=torch.float64).tolist()
    parts = []
    for low, high in itertools.pairwise(edges):
        share = end.clamp(max=high) - start.clamp(min=low)
        kept = share > 1e-9 / len(weights)
        parts.append((order[kept], share[kept] / share[kept].sum()))
    return parts


def _solve(x0: Tensor, x1: Tensor, a: Tensor, b: Tensor) -> Plan:
    import ot

    if len(x0) * len(x1) > LARGEST_DENSE:
        raise InputError(
            f"an exact plan of {len(x0)} x {len(x1)} cells would take "
            f"{len(x0) * len(x1) * 16 / 2**30:.0f} GiB: take blocks or the entropic plan"
        )
    y0, y1 = x0.double(), x1.double()
    cost = torch.cdist(y0, y1).square().numpy()
    plan, log = ot.emd(a.numpy(), b.numpy(), cost, numItermax=10_000_000, log=True)
    source, target = np.nonzero(plan)
    mass = plan[source, target]
    value = float(mass @ cost[source, target])
    rows, columns = plan.sum(1), plan.sum(0)
    error = float(max(np.abs(rows - a.numpy()).sum(), np.abs(columns - b.numpy()).sum()))
    scale = float(
        a.numpy() @ cost @ b.numpy()
    )  # of any plan: where the optimum is zero, so is the gap
    gap = (value - _dual_value(cost, np.asarray(log["v"]), a.numpy(), b.numpy())) / max(
        value, 1e-3 * scale, 1e-300
    )
    if log["warning"] is not None or abs(gap) > GAP_ALLOWED or error > 1e-6:
        raise InputError(
            f"the exact plan of {len(x0)} x {len(x1)} cells did not converge (relative gap {gap:.1e}, "
            f"marginal error {error:.1e}): take blocks or the entropic plan"
        )
    pairs = torch.from_numpy(source), torch.from_numpy(target), torch.from_numpy(mass)
    return Plan(*pairs, len(x0), len(x1), "exact", value, error, max(gap, 0.0), True, 1)


def _dual_value(cost: np.ndarray, v: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Value of the potentials made feasible: u_i = min_j c_ij - v_j over targets with weight."""
    used = b > 0
    u = (cost[:, used] - v[None, used]).min(1)
    return float(a @ u + b[used] @ v[used])

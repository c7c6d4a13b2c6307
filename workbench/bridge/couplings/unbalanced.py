"""Unbalanced coupling for Wasserstein-Fisher-Rao paths: mass may be born and die, as far as moving is dearer.

    min_G sum_ij G_ij C_ij + KL(G 1 | m0) + KL(G^T 1 | m1),    C = -log cos^2( min(D / 2 delta, pi / 2) )

without entropy, by majorise-minimise steps (Chapel et al., Unbalanced optimal transport through
non-negative penalized linear regression, 2021, arXiv 2106.04145):

    G <- G * exp(-C / 2) * sqrt(m0 / G 1) sqrt(m1 / G^T 1)

The plan gives semi-couplings, mass that leaves and mass that arrives per pair,

    mass = m0 G / (G 1),    target_mass = m1 G / (G^T 1)

whose marginals are m0 and m1 exactly. The certificate is the gap to the dual <m0, 1 - e^-f> + <m1, 1 -
e^-g> at potentials made feasible, f_i + g_j <= C_ij. Total masses are the caller's to know: from cell
counts alone they are not identifiable.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.bridge.couplings.plan import Plan
from workbench.errors import InputError

LARGEST_DENSE = 4000 * 4000
_CHECK_EVERY = 25
_KEPT = 1e-3


def unbalanced_plan(
    x0: Float[Tensor, "source feature"],
    x1: Float[Tensor, "target feature"],
    mass0: Float[Tensor, "source"],
    mass1: Float[Tensor, "target"],
    delta: float,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 5000,
    block: int = 2000,
    generator: torch.Generator | None = None,
) -> Plan:
    """Semi-couplings of two snapshots with masses per cell; `delta` in data units.

    tolerance   relative duality gap to stop at
    block       cells per side of the random blocks that large snapshots are cut into

    Raises InputError for bad masses, a delta that leaves a cell without any partner within pi delta, or
    where the iteration did not converge."""
    for mass, x in ((mass0, x0), (mass1, x1)):
        if (
            mass.shape != (len(x),)
            or not bool((mass > 0).all())
            or not math.isfinite(float(mass.sum()))
        ):
            raise InputError(
                f"masses of shape {tuple(mass.shape)} for {len(x)} cells: give one positive number per cell"
            )
    if len(x0) * len(x1) <= LARGEST_DENSE:
        return _solve(x0, x1, mass0.double(), mass1.double(), delta, tolerance, max_iterations)
    if generator is None:
        raise InputError(f"{len(x0)} x {len(x1)} cells are solved in blocks: give a generator")
    n = -(-max(len(x0), len(x1)) // block)
    rows = torch.randperm(len(x0), generator=generator).tensor_split(n)
    columns = torch.randperm(len(x1), generator=generator).tensor_split(n)
    parts = []
    for i, j in zip(rows, columns, strict=True):
        masses = mass0[i].double(), mass1[j].double()
        plan = _solve(x0[i], x1[j], *masses, delta, tolerance, max_iterations)
        parts.append((plan, i[plan.source], j[plan.target]))
    return _joined(parts, len(x0), len(x1), block)


def _joined(parts: list[tuple[Plan, Tensor, Tensor]], n0: int, n1: int, block: int) -> Plan:
    plans = [plan for plan, _, _ in parts]
    arriving = [plan.target_mass for plan in plans if plan.target_mass is not None]
    return Plan(
        source=torch.cat([source for _, source, _ in parts]),
        target=torch.cat([target for _, _, target in parts]),
        mass=torch.cat([plan.mass for plan in plans]),
        n_source=n0,
        n_target=n1,
        method=f"unbalanced in random blocks of {block}",
        cost=sum(plan.cost for plan in plans),
        marginal_error=max(plan.marginal_error for plan in plans),
        duality_gap=max(plan.duality_gap for plan in plans),
        converged=True,
        iterations=max(plan.iterations for plan in plans),
        target_mass=torch.cat(arriving),
    )


def _solve(
    x0: Tensor,
    x1: Tensor,
    m0: Tensor,
    m1: Tensor,
    delta: float,
    tolerance: float,
    max_iterations: int,
) -> Plan:
    distance = torch.cdist(x0.double(), x1.double())
    near = distance < math.pi * delta
    if not bool(near.any(1).all() and near.any(0).all()):
        raise InputError(
            f"delta {delta:.3g} leaves cells without a partner within pi delta: their growth could not "
            f"be learned; take more than {_least_delta(distance):.3g}"
        )
    half = (distance / (2.0 * delta)).clamp(max=math.pi / 2.0).cos()  # exp(-C / 2)
    half[~near] = 0.0
    plan, gap, iterations = _majorise_minimise(half, m0, m1, tolerance, max_iterations)
    if gap > tolerance:
        raise InputError(
            f"the unbalanced plan of {len(x0)} x {len(x1)} cells has a relative gap of {gap:.1e} after "
            f"{iterations} iterations: raise the tolerance or the iterations, or take a larger delta"
        )
    kept = (plan > _KEPT * plan.amax(1, keepdim=True)) | (plan > _KEPT * plan.amax(0, keepdim=True))
    plan = torch.where(kept, plan, 0.0)
    source, target = kept.nonzero(as_tuple=True)
    leaving = (m0 / plan.sum(1))[:, None] * plan
    arriving = (m1 / plan.sum(0))[None, :] * plan
    return Plan(
        source,
        target,
        leaving[kept],
        len(x0),
        len(x1),
        method="unbalanced",
        cost=float((plan[kept] * distance[kept].square()).sum()),
        marginal_error=float(abs(leaving.sum(1) - m0).sum() / m0.sum()),
        duality_gap=gap,
        converged=True,
        iterations=iterations,
        target_mass=arriving[kept],
    )


def _least_delta(distance: Tensor) -> float:
    """The delta below which some cell has no partner."""
    farthest = torch.maximum(distance.amin(1).max(), distance.amin(0).max())
    return float(farthest) / math.pi


def _majorise_minimise(
    half: Tensor, m0: Tensor, m1: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, float, int]:
    """The plan, its relative duality gap and the iterations; `half` is exp(-C / 2)."""
    plan = half * (m0[:, None] / m0.sum()).sqrt() * (m1[None, :] / m1.sum()).sqrt()
    plan *= (m0.sum() * m1.sum()).sqrt() / plan.sum()
    gap = math.inf
    for iteration in range(1, max_iterations + 1):
        p, q = (m0 / plan.sum(1)).sqrt(), (m1 / plan.sum(0)).sqrt()
        plan.mul_(half).mul_(p[:, None]).mul_(q[None, :])
        if iteration % _CHECK_EVERY == 0:
            gap = _relative_gap(plan, half, m0, m1)
            if gap < tolerance:
                return plan, gap, iteration
    return plan, gap, max_iterations


def _relative_gap(plan: Tensor, half: Tensor, m0: Tensor, m1: Tensor) -> float:
    """Primal minus dual over the cost of carrying nothing, sum of all masses."""
    rows, columns = plan.sum(1), plan.sum(0)
    cost = -2.0 * half.clamp_min(1e-300).log()
    primal = float((plan * cost).sum() + _kl(rows, m0) + _kl(columns, m1))
    g = -(columns / m1).clamp_min(1e-300).log()
    f = torch.where(half > 0, cost - g[None, :], math.inf).amin(1)
    dual = float(m0 @ -torch.expm1(-f) + m1 @ -torch.expm1(-g))
    return (primal - dual) / float(m0.sum() + m1.sum())


def _kl(r: Tensor, m: Tensor) -> Tensor:
    return (torch.special.xlogy(r, r / m) - r + m).sum()

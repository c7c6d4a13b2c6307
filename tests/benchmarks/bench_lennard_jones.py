"""LJ-13: compiled energy + force, and the iDEM score target, against autograd through vmap.

CPU time per configuration, one thread, float32, repeats of both in turn. The other side is the
formulation of public diffusion samplers (iDEM, 2024, arXiv 2402.06121), written out here in plain
PyTorch: the energy of one configuration over its ordered pairs, `torch.func.grad` of it under
`torch.func.vmap`; for the target, the gradient of the log mean of exp(-u) over K noised copies.
Both sides get the same positions and the same noise, and their values are compared in float64.

    python -m tests.benchmarks.bench_lennard_jones
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from domains.molecules import LennardJones
from domains.molecules.lennard_jones import icosahedral_cluster
from workbench.diffusion.score_target import draw_noise, estimate_score
from workbench.problem import centred

N_PARTICLES, BATCH = 13, 4096
TARGET_BATCH, DRAWS = 64, 1000
# A noise at which copies of a relaxed cluster do not clash beyond single precision.
VARIANCE = 0.01
REPEATS, TARGET_REPEATS = 9, 5
AGREEMENT = 1e-4


def plain_energy(x: Tensor) -> Tensor:
    """Reduced energy of one configuration [particle, 3]: ordered pairs, tether of unit strength."""
    off_diagonal = ~torch.eye(N_PARTICLES, dtype=torch.bool)
    rows, columns = off_diagonal.nonzero(as_tuple=True)
    sixth = (x[rows] - x[columns]).square().sum(-1) ** -3
    from_centre = x - x.mean(0)
    return (sixth * sixth - 2.0 * sixth).sum() + 0.5 * from_centre.square().sum()


plain_energy_and_gradient = torch.func.vmap(torch.func.grad_and_value(plain_energy))


def plain_log_density(x: Tensor, noise: Tensor, spread: Tensor) -> Tensor:
    """log of the mean of exp(-u) over the noised copies [draw, particle, 3] of one configuration."""
    u = torch.func.vmap(plain_energy)(x + spread * noise)
    return torch.logsumexp(-u, dim=0) - math.log(len(noise))


plain_target = torch.func.vmap(torch.func.grad(plain_log_density))


def thermal_like(energy: LennardJones, n: int, generator: torch.Generator) -> Tensor:
    """Clusters of finite energy in float64: the icosahedron's neighbourhood, jittered."""
    shape = (n, *energy.event_shape)
    jitter = 0.08 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return centred(icosahedral_cluster(1) + jitter)


def cpu_seconds(call: Callable[[], Any], n_calls: int) -> float:
    start = time.process_time()
    for _ in range(n_calls):
        call()
    return (time.process_time() - start) / n_calls


def compare(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    batch: int,
    n_calls: int,
    repeats: int,
    unit: str,
) -> dict[str, Any]:
    """CPU time of both for a `batch`, ours `n_calls` times per repeat."""
    ours(), theirs()
    times = [
        (cpu_seconds(ours, n_calls) / batch, cpu_seconds(theirs, 1) / batch) for _ in range(repeats)
    ]
    ratios = sorted(b / a for a, b in times)
    return {
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "ours": 1e6 * statistics.median(a for a, _ in times),
        "theirs": 1e6 * statistics.median(b for _, b in times),
        "unit": f"microseconds of CPU per {unit}",
    }


def assert_equal(ours: Tensor, theirs: Tensor, what: str) -> None:
    """Raises `AssertionError` where the two differ by more than `AGREEMENT`, relative."""
    difference = float((ours - theirs).norm() / theirs.norm())
    assert difference < AGREEMENT, f"{what} differ by {difference:.1e}, relative"


def energy_and_force(energy: LennardJones, generator: torch.Generator) -> dict[str, Any]:
    x = thermal_like(energy, BATCH, generator)
    u, force = energy.energy_and_force(x[:256])
    gradient, value = plain_energy_and_gradient(x[:256])
    assert_equal(u, value, "energies")
    assert_equal(force, -gradient, "forces")
    single = x.float()
    return compare(
        lambda: energy.energy_and_force(single),
        lambda: plain_energy_and_gradient(single),
        BATCH,
        20,
        REPEATS,
        "configuration",
    )


def target(energy: LennardJones, generator: torch.Generator) -> dict[str, Any]:
    x = thermal_like(energy, TARGET_BATCH, generator)
    noise = draw_noise(energy, TARGET_BATCH, DRAWS, generator, torch.float64)
    variance = torch.full((TARGET_BATCH,), VARIANCE, dtype=torch.float64)
    spread = variance.sqrt()
    few = slice(0, 8)
    assert_equal(
        estimate_score(energy, x[few], variance[few], noise[few], "none").score,
        plain_target(x[few], noise[few], spread[few]),
        "targets",
    )
    x, noise, variance, spread = x.float(), noise.float(), variance.float(), spread.float()
    return compare(
        lambda: estimate_score(energy, x, variance, noise, "none"),
        lambda: plain_target(x, noise, spread),
        TARGET_BATCH,
        2,
        TARGET_REPEATS,
        f"target of {DRAWS} draws",
    )


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    energy = LennardJones(N_PARTICLES)
    generator = torch.Generator().manual_seed(0)
    return {
        "lj13_energy_force_vs_autograd": energy_and_force(energy, generator),
        "idem_target_lj13_vs_autograd": target(energy, generator),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))

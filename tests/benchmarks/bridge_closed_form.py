"""Gaussian to Gaussian in the plane from 50,000 samples an end, against the closed form; minutes of one core.

[SF]2M at two diffusions: mean and covariance of its stochastic paths at three times against the Schrödinger
bridge. OT-CFM: energy of its paths and end points against optimal transport. Every figure is an error in
percent of what `UNITS` says; the last line is the worst of each kind beside what is asked of it.

    python -m tests.benchmarks.bridge_closed_form [CELLS [STEPS]]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import torch

from tests.workbench.bridge.gaussians import (
    COVARIANCES,
    FRAME,
    MEANS,
    TIMES,
    bridge,
    end,
    moment_errors,
)
from workbench.bridge import training
from workbench.bridge.model import BridgeModel
from workbench.bridge.options import BridgeConfig, CouplingConfig, Method
from workbench.bridge.simulation import ode, path_energy, sde

CELLS, PATHS = 50_000, 30_000
STEPS, BATCH = 3000, 1024
BETWEEN = (0.25, 0.5, 0.75)
ASKED = {"mean": 3.0, "covariance": 3.0, "path_energy": 3.0, "end_point": 2.0}
UNITS = {
    "mean": "% of the standard deviation",
    "covariance": "% of the covariance's Frobenius norm",
    "path_energy": "% of W2 squared",
    "end_point": "W2 to the target in % of W2 between the ends",
}


def train(method: Method, sigma: float, n_cells: int, steps: int) -> BridgeModel:
    generator = torch.Generator().manual_seed(0)
    config = BridgeConfig(
        method=method,
        sigma=sigma,
        steps=steps,
        batch=BATCH,
        learning_rate=3e-3,
        coupling=CouplingConfig(tolerance=5e-3),
    )
    cells = [end(k, n_cells, generator) for k in (0, 1)]
    return training.train(config, cells, TIMES, generator, frame=FRAME)


def schroedinger(sigma: float, n_cells: int, steps: int) -> Iterator[dict[str, float]]:
    """Errors of [SF]2M at the times between."""
    began = time.process_time()
    model = train("sf2m", sigma, n_cells, steps)
    trained = time.process_time() - began
    generator = torch.Generator().manual_seed(1)
    times = torch.tensor([0.0, *BETWEEN])
    paths = sde(model, end(0, PATHS, generator), times, sigma, generator, steps=10)
    for t, x in zip(BETWEEN, paths.x[1:], strict=True):
        mean, covariance = moment_errors(x, bridge(sigma), t)
        yield {
            "sigma": sigma,
            "time": t,
            "mean": 100 * mean,
            "covariance": 100 * covariance,
            "plan_marginal_error": model.plans[0].marginal_error,
            "training_cpu_seconds": trained,
        }


def transport(n_cells: int, steps: int) -> dict[str, float]:
    """Errors of OT-CFM."""
    import ot

    began = time.process_time()
    model = train("otcfm", 0.0, n_cells, steps)
    trained = time.process_time() - began
    start = end(0, PATHS, torch.Generator().manual_seed(1))
    squared = bridge(0.0).transport_cost()
    energy = path_energy(model, start, 0.0, 1.0, steps=10)
    moved = ode(model, start, TIMES, tolerance=1e-6).x[-1].double()
    moments = moved.mean(0).numpy(), MEANS[1].numpy()
    spreads = torch.cov(moved.T).numpy(), COVARIANCES[1].numpy()
    apart = float(ot.gaussian.bures_wasserstein_distance(*moments, *spreads))
    return {
        "path_energy": 100 * abs(energy / squared - 1.0),
        "end_point": 100 * apart / squared**0.5,
        "training_cpu_seconds": trained,
    }


def main(n_cells: int = CELLS, steps: int = STEPS) -> None:
    torch.set_num_threads(1)
    found = [transport(n_cells, steps)]
    print(json.dumps(found[0]), flush=True)
    for sigma in (0.5, 1.0):
        for one in schroedinger(sigma, n_cells, steps):
            print(json.dumps(one), flush=True)
            found.append(one)
    for name, asked in ASKED.items():
        worst = max(one[name] for one in found if name in one)
        print(f"{name}: at most {worst:.2f} {UNITS[name]}, asked {asked:g}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

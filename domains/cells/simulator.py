"""Cells of a gene circuit with birth and death, seen once each at several times.

Euler-Maruyama in steps of `step`; a cell divides with probability birth(x) dt and dies with probability
death dt. Every snapshot is drawn from a population of its own, so no cell is seen twice, as when cells
are taken apart to be measured. Expression is kept at zero or above by reflection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float
from torch import Tensor

from domains.cells.circuits import Circuit
from domains.cells.snapshots import CellSnapshots, make_snapshots
from workbench.errors import InputError

STEP = 0.02
FLOOR = 0.05
MOST_CELLS = 2_000_000
FOUNDERS = 4000  # so that the true population size is known to a percent or so


@dataclass(frozen=True, eq=False)
class Simulation:
    """Snapshots and their truth.

    snapshots     expression [cell, gene] per time; `population` is the true relative size
    drift         [cell, gene] per time, mean change per time unit
    growth        [cell] per time, births without deaths per time unit
    trajectories  [time, path, gene] of cells that are neither born nor die
    """

    circuit: Circuit
    snapshots: CellSnapshots
    drift: tuple[Tensor, ...]
    growth: tuple[Tensor, ...]
    trajectories: Float[Tensor, "time path gene"]

    def anndata(self) -> AnnData:
        """The snapshots as a file would hold them: expression in X, `obs` time and true growth, layer
        `true_velocity`, the network and the population in `uns`."""
        shots = self.snapshots
        sizes = [len(x) for x in shots.values]
        obs = pd.DataFrame(
            {
                "time": np.repeat(shots.times.numpy(), sizes),
                "true_growth": torch.cat(self.growth).numpy(),
            },
            index=[f"cell{i}" for i in range(sum(sizes))],
        )
        values = torch.cat(shots.values).numpy()
        data = AnnData(values, obs=obs, var=pd.DataFrame(index=list(self.circuit.genes)))
        data.layers["true_velocity"] = torch.cat(self.drift).numpy()
        data.obsm["X_expression"] = values
        edges = [edge for edge in self.circuit.edges if edge.source != edge.target]
        data.uns["network"] = pd.DataFrame(
            {
                "source": [edge.source for edge in edges],
                "target": [edge.target for edge in edges],
                "sign": [math.copysign(1.0, edge.strength) for edge in edges],
            }
        )
        assert shots.population is not None
        data.uns["population"] = shots.population.numpy()
        return data


def simulate(
    circuit: Circuit,
    n_cells: int,
    generator: torch.Generator,
    times: tuple[float, ...] | None = None,
    n_trajectories: int = 50,
) -> Simulation:
    """`n_cells` cells at each time. Raises InputError for times below zero or out of order, or a
    population that dies out or grows beyond memory."""
    at = circuit.times if times is None else times
    if at[0] < 0 or any(b <= a for a, b in pairwise(at)):
        raise InputError(f"times {at} of a simulation must ascend from zero or later")
    values, sizes = [], []
    founders = FOUNDERS if circuit.birth_rate or circuit.death_rate else 1
    for time in at:
        cells, size = _population(circuit, max(n_cells, founders), time, generator)
        chosen = torch.randint(len(cells), (n_cells,), generator=generator)
        if len(cells) >= n_cells:
            chosen = torch.randperm(len(cells), generator=generator)[:n_cells]
        values.append(cells[chosen])
        sizes.append(size)
    population = torch.tensor(sizes, dtype=torch.float64) / sizes[0]
    shots = make_snapshots(values, list(at), "simulated time", population=population)
    return Simulation(
        circuit,
        shots,
        tuple(circuit.drift(x, t) for x, t in zip(values, at, strict=True)),
        tuple(circuit.growth(x) for x in values),
        _followed(circuit, n_trajectories, at, generator),
    )


def with_readouts(data: AnnData, n: int, noise: float, generator: torch.Generator) -> AnnData:
    """`data` with `n` more genes behind those of the circuit, each a saturating mixture of them:

        y_j = | 1 / (1 + exp(-sum_i w_ij z_i)) + noise e |,    z standardised expression, w_ij ~ N(0, 1)

    so that cells lie around a curved surface in many dimensions. `noise` is the deviation of e in units of
    the gene's own spread. True velocities of these genes are not kept."""
    x = torch.from_numpy(np.asarray(data.X))
    z = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
    weights = torch.randn(x.shape[1], n, generator=generator)
    clean = torch.sigmoid(z @ weights)
    e = torch.randn(clean.shape, generator=generator)
    values = torch.cat([x, (clean + noise * clean.std(0) * e).abs()], dim=1).numpy()
    names = [*data.var_names, *(f"readout{j}" for j in range(n))]
    made = AnnData(values, obs=data.obs, var=pd.DataFrame(index=names), uns=data.uns)
    made.obsm["X_expression"] = np.asarray(data.X)
    return made


def start(circuit: Circuit, n: int, generator: torch.Generator) -> Float[Tensor, "n gene"]:
    """Cells at time 0: log-normal around the start of the circuit, every second one around its other
    start where it has one."""
    noise = torch.randn(n, len(circuit.genes), generator=generator)
    middle = torch.tensor(circuit.start).repeat(n, 1)
    if circuit.other_start:
        middle[1::2] = torch.tensor(circuit.other_start)
    return middle * (circuit.start_spread * noise).exp()


def advance(
    circuit: Circuit, x: Float[Tensor, "cell gene"], t: float, dt: float, generator: torch.Generator
) -> Float[Tensor, "cell gene"]:
    """One step of the equation without birth and death."""
    noise = torch.randn(x.shape, generator=generator)
    spread = circuit.noise * (x + FLOOR).sqrt() * math.sqrt(dt)
    return (x + circuit.drift(x, t) * dt + spread * noise).abs()


def _steps(duration: float) -> tuple[int, float]:
    n = max(1, math.ceil(duration / STEP - 1e-9))
    return n, duration / n


def _population(
    circuit: Circuit, n: int, time: float, generator: torch.Generator
) -> tuple[Float[Tensor, "cell gene"], float]:
    """All cells at `time` of a population that began as `n`, and its size over `n`."""
    x, first = start(circuit, n, generator), n
    n_steps, dt = _steps(time) if time > 0 else (0, 0.0)
    for step in range(n_steps):
        x = advance(circuit, x, step * dt, dt, generator)
        if circuit.birth_rate or circuit.death_rate:
            x = _divide_and_die(circuit, x, dt, generator)
    return x, len(x) / first


def _divide_and_die(
    circuit: Circuit, x: Float[Tensor, "cell gene"], dt: float, generator: torch.Generator
) -> Float[Tensor, "_ gene"]:
    draw = torch.rand(2, len(x), generator=generator)
    alive = draw[0] >= circuit.death_rate * dt
    divides = alive & (draw[1] < circuit.birth(x) * dt)
    x = torch.cat([x[alive], x[divides]])
    if not 5 <= len(x) <= MOST_CELLS:
        raise InputError(
            f"the population of {circuit.name} has come to {len(x):,} cells: change its birth or death "
            "rate, or its times"
        )
    return x


def _followed(
    circuit: Circuit, n: int, times: tuple[float, ...], generator: torch.Generator
) -> Float[Tensor, "time path gene"]:
    x, now, seen = start(circuit, n, generator), 0.0, []
    for time in times:
        n_steps, dt = _steps(time - now) if time > now else (0, 0.0)
        for step in range(n_steps):
            x = advance(circuit, x, now + step * dt, dt, generator)
        now = time
        seen.append(x)
    return torch.stack(seen)

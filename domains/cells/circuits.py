"""Small gene circuits whose trajectories, network and growth are known.

    dx_i = ( rate_i f_i(x, t) - decay_i x_i ) dt + noise_i sqrt(x_i + floor) dW_i
    f_i  = ( basal_i + drive_i(t) + sum_j a_ij h_j ) / ( 1 + basal_i + drive_i(t) + sum_j (a_ij + r_ij) h_j )
    h_j  = (x_j / K)^n

Activators and repressors compete for one promoter (thermodynamic Hill form; the toggle with growth
follows Sha et al., "Reconstructing growth and dynamic trajectories from single-cell transcriptomics
data", 2024). `drive` is a signal from outside, a sine of time, for paths that cross themselves. A cell
divides at `birth_rate(x)` and dies at `death_rate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError, nearest


@dataclass(frozen=True)
class Edge:
    """`source` acts on `target`: activation where `strength` is positive, repression where negative."""

    source: str
    target: str
    strength: float


@dataclass(frozen=True)
class Drive:
    """Signal on a gene: amplitude (1 + sin(2 pi frequency t + phase)) / 2; frequency in 1/time unit."""

    amplitude: float
    frequency: float
    phase: float = 0.0


@dataclass(frozen=True)
class Circuit:
    """A network and its constants; times are in the simulator's own unit.

    genes       names
    edges       the true network, self-edges included
    start       mean expression at time 0 of each gene; `start_spread` the relative deviation
    other_start where half of the cells start, if anywhere else
    times       snapshots that show its course
    terminal    genes whose level tells the terminal populations apart
    grows_with  gene whose level drives division; None = every cell divides alike
    knocked_out genes that are not made
    """

    name: str
    genes: tuple[str, ...]
    edges: tuple[Edge, ...]
    start: tuple[float, ...]
    times: tuple[float, ...]
    rate: float = 1.0
    decay: float = 1.0
    basal: tuple[float, ...] = ()
    drives: dict[str, Drive] = field(default_factory=dict)
    threshold: float = 0.5
    hill: float = 4.0
    noise: float = 0.05
    start_spread: float = 0.1
    terminal: tuple[str, ...] = ()
    birth_rate: float = 0.0
    death_rate: float = 0.0
    grows_with: str | None = None
    other_start: tuple[float, ...] = ()
    knocked_out: tuple[str, ...] = ()

    def without(self, *genes: str) -> Circuit:
        """The circuit with these genes knocked out. Raises InputError for an unknown gene."""
        for gene in genes:
            if gene not in self.genes:
                raise InputError(
                    f'there is no gene "{gene}" in {self.name}{nearest(gene, self.genes)}'
                )
        return replace(self, knocked_out=tuple(genes))

    def strengths(self) -> tuple[Float[Tensor, "target source"], Float[Tensor, "target source"]]:
        """Activation and repression by target and source, both positive."""
        n, place = len(self.genes), {gene: i for i, gene in enumerate(self.genes)}
        activation, repression = torch.zeros(n, n), torch.zeros(n, n)
        for edge in self.edges:
            matrix = activation if edge.strength > 0 else repression
            matrix[place[edge.target], place[edge.source]] = abs(edge.strength)
        return activation, repression

    def network(self) -> Float[Tensor, "source target"]:
        """True edges between different genes as 1, by source and target."""
        activation, repression = self.strengths()
        return ((activation + repression) > 0).T.float().fill_diagonal_(0.0)

    def drift(self, x: Float[Tensor, "cell gene"], t: float) -> Float[Tensor, "cell gene"]:
        """Mean change of expression per time unit."""
        activation, repression = self.strengths()
        level = (x.clamp(min=0.0) / self.threshold) ** self.hill
        basal = torch.tensor(self.basal or [0.0] * len(self.genes)) + self._driven(t)
        pushed = basal + level @ activation.T
        made = self.rate * pushed / (1.0 + pushed + level @ repression.T)
        for gene in self.knocked_out:
            made[:, self.genes.index(gene)] = 0.0
        return made - self.decay * x

    def _driven(self, t: float) -> Float[Tensor, "gene"]:
        signal = torch.zeros(len(self.genes))
        for gene, drive in self.drives.items():
            wave = math.sin(2 * math.pi * drive.frequency * t + drive.phase)
            signal[self.genes.index(gene)] = 0.5 * drive.amplitude * (1 + wave)
        return signal

    def birth(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell"]:
        """Divisions per time unit of each cell."""
        if self.grows_with is None:
            return torch.full((len(x),), self.birth_rate)
        level = x[:, self.genes.index(self.grows_with)].clamp(min=0.0).square()
        return self.birth_rate * level / (1.0 + level)

    def growth(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell"]:
        """Net growth per time unit: births without deaths."""
        return self.birth(x) - self.death_rate


def _times(last: float, n: int) -> tuple[float, ...]:
    return tuple(round(last * i / (n - 1), 6) for i in range(n))


SWITCH = Circuit(
    "switch",
    ("a", "b"),
    (Edge("a", "a", 1.0), Edge("b", "b", 1.0), Edge("a", "b", -1.0), Edge("b", "a", -1.0)),
    start=(0.45, 0.45),
    times=_times(8.0, 5),
    basal=(0.3, 0.3),
    noise=0.08,
    terminal=("a", "b"),
)
# A ring of three repressors (Elowitz and Leibler 2000) that goes round once in about 9 time units.
CYCLE = Circuit(
    "cycle",
    ("a", "b", "c"),
    (Edge("a", "b", -40.0), Edge("b", "c", -40.0), Edge("c", "a", -40.0)),
    start=(0.62, 0.05, 0.2),
    times=_times(5.0, 6),
    basal=(4.0, 4.0, 4.0),
    noise=0.03,
)
_CASCADE = (Edge("g1", "g2", 4.0), Edge("g2", "g3", 4.0))
BIFURCATION = Circuit(
    "bifurcation",
    ("g1", "g2", "g3", "g4", "g5", "g6", "g7"),
    (
        *_CASCADE,
        Edge("g3", "g4", 1.5),
        Edge("g3", "g5", 1.5),
        Edge("g4", "g4", 4.0),
        Edge("g5", "g5", 4.0),
        Edge("g4", "g5", -8.0),
        Edge("g5", "g4", -8.0),
        Edge("g4", "g6", 4.0),
        Edge("g5", "g7", 4.0),
    ),
    start=(0.1, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02),
    times=_times(10.0, 6),
    basal=(4.0, 0.0, 0.0, 0.02, 0.02, 0.0, 0.0),
    noise=0.06,
    terminal=("g4", "g5"),
)
TRIFURCATION = Circuit(
    "trifurcation",
    ("g1", "g2", "g3", "a", "b", "c"),
    (
        *_CASCADE,
        *(Edge("g3", gene, 1.5) for gene in "abc"),
        *(Edge(gene, gene, 4.0) for gene in "abc"),
        *(Edge(x, y, -8.0) for x in "abc" for y in "abc" if x != y),
    ),
    start=(0.1, 0.02, 0.02, 0.02, 0.02, 0.02),
    times=_times(10.0, 6),
    basal=(4.0, 0.0, 0.0, 0.02, 0.02, 0.02),
    noise=0.06,
    terminal=("a", "b", "c"),
)
# Two genes driven at 2 : 3, so that the path in the plane crosses itself.
KNOT = Circuit(
    "knot",
    ("a", "b"),
    (),
    start=(0.5, 0.75),
    times=_times(6.0, 25),
    rate=6.0,
    decay=6.0,
    drives={"a": Drive(3.0, 2 / 6), "b": Drive(3.0, 3 / 6, math.pi / 4)},
    noise=0.15,
    start_spread=0.08,
)
# Half of the cells rest with a high, half turn b on and divide the faster the more of it they have.
TOGGLE_WITH_GROWTH = Circuit(
    "toggle-with-growth",
    ("a", "b", "c"),
    (
        Edge("a", "a", 1.0),
        Edge("b", "b", 1.0),
        Edge("a", "b", -2.0),
        Edge("b", "a", -2.0),
        Edge("b", "c", 1.0),
    ),
    start=(1.2, 0.03, 0.1),
    other_start=(0.3, 0.5, 0.15),
    times=_times(4.0, 5),
    rate=1.5,
    basal=(0.15, 0.15, 0.05),
    hill=2.0,
    noise=0.06,
    terminal=("a", "b"),
    birth_rate=1.2,
    grows_with="b",
)

_CIRCUITS = {
    circuit.name: circuit
    for circuit in (SWITCH, CYCLE, BIFURCATION, TRIFURCATION, KNOT, TOGGLE_WITH_GROWTH)
}
NAMES = tuple(_CIRCUITS)


def circuit(name: str) -> Circuit:
    """The circuit of that name. Raises InputError naming the nearest where unknown."""
    if name not in _CIRCUITS:
        raise InputError(
            f'unknown circuit "{name}"{nearest(name, NAMES)}: one of {", ".join(NAMES)}'
        )
    return _CIRCUITS[name]

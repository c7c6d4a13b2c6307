"""A fast energy fitted to a slow one's answers about the sampler's own proposals.

    E = mean over atoms i of  g(element_i, A_i, B_i) + the mean of one number per element
    A_i = sum_j f(r_ij) (x) c(element_j)                 f: Gaussians in distance times a smooth cut at 5 A
    B_i = | sum_j f(r_ij) (x) c(element_j) r_ij/|r_ij| |^2      with directions: how lopsided the site is

with g a perceptron and c learned; invariant to cell, origin, orientation and order of atoms. Formation energies
above `worst_ev_per_atom` are fitted as that, as the reward counts them. The point is speed: a hundred crystals
cost about as much as one evaluation of the network it is fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from domains.crystals.crystals import Crystals, join
from domains.crystals.elements import Elements
from domains.crystals.fingerprint import neighbour_list
from workbench.seeds import weights_from

_CUTOFF_A = 5.0
_NEAREST_A = 1.0


@dataclass(frozen=True)
class FitConfig:
    """width, channels   of g's layers, and of c
    radial           Gaussians
    batch            crystals per gradient step
    learning_rate    of Adam, constant
    """

    width: int = 96
    channels: int = 6
    radial: int = 10
    batch: int = 96
    learning_rate: float = 2e-3


class PairNetwork(nn.Module):
    """Formation energy per atom of crystals, as the module says."""

    centres: Tensor

    def __init__(self, n_elements: int, config: FitConfig) -> None:
        super().__init__()
        n = config.radial * config.channels
        self.neighbour = nn.Embedding(n_elements, config.channels)
        self.centre = nn.Embedding(n_elements, config.width)
        self.own = nn.Embedding(n_elements, 1)
        self.inward = nn.Linear(2 * n + 1, config.width)
        self.hidden = nn.Linear(config.width, config.width)
        self.last = nn.Linear(config.width, 1)
        nn.init.zeros_(self.own.weight)
        self.register_buffer("centres", torch.linspace(_NEAREST_A, _CUTOFF_A, config.radial))
        self.spacing = (_CUTOFF_A - _NEAREST_A) / (config.radial - 1)

    def forward(self, crystals: Crystals) -> Float[Tensor, "crystal"]:
        n_atoms = torch.from_numpy(crystals.n_atoms)
        kind = torch.from_numpy(crystals.kind[crystals.kind >= 0])
        lists = neighbour_list(crystals, _CUTOFF_A)
        first, second = torch.from_numpy(lists[0]), torch.from_numpy(lists[1])
        length, vector = torch.from_numpy(lists[2]).float(), torch.from_numpy(lists[3]).float()
        smooth = 0.5 * (1 + torch.cos(torch.pi * length / _CUTOFF_A))
        radial = torch.exp(-(((length[:, None] - self.centres) / self.spacing) ** 2))
        by_kind = radial.new_zeros(len(kind) * len(self.neighbour.weight), 4 * len(self.centres))
        parts = torch.cat([torch.ones_like(smooth)[:, None], vector / length[:, None]], 1)
        terms = (parts[:, :, None] * (radial * smooth[:, None])[:, None, :]).flatten(1)
        place = first * len(self.neighbour.weight) + kind[second]
        by_kind.index_add_(0, place, terms)  # element by element first: c comes in after the sum
        summed = by_kind.view(len(kind), -1, 4, len(self.centres))
        mixed = torch.einsum("aekr,ec->akrc", summed, self.neighbour.weight)
        scalars, vectors = mixed[:, 0].flatten(1), mixed[:, 1:].square().sum(1).flatten(1)
        lopsided = torch.sqrt(vectors + 1e-4)
        owner = torch.repeat_interleave(torch.arange(len(n_atoms)), n_atoms)
        volume = torch.from_numpy(np.log(crystals.volume_per_atom_a3 / 15.0)).float()
        inward = self.inward(torch.cat([scalars, lopsided, volume[owner, None]], 1))
        hidden = functional.silu(inward + self.centre(kind))
        hidden = hidden + functional.silu(self.hidden(hidden))
        atom = (self.last(hidden) + self.own(kind)).squeeze(1)
        total = atom.new_zeros(len(n_atoms)).index_add(0, owner, atom)
        return total / n_atoms


class FittedEnergy:
    """Formation energies by a `PairNetwork`, and the labelled crystals it has been fitted to.

    n_evaluations   of the network; the labels' cost is counted where they come from
    worst_ev_per_atom   labels above count as this
    """

    def __init__(
        self,
        elements: Elements,
        config: FitConfig,
        generator: torch.Generator,
        worst_ev_per_atom: float,
    ) -> None:
        self.name = "pair network fitted to labelled proposals"
        self.config, self.worst_ev_per_atom = config, worst_ev_per_atom
        self.n_evaluations = 0
        self._elements, self._generator = elements, generator
        with weights_from(generator):
            self.network = PairNetwork(len(elements), config)
        self._optimiser = torch.optim.Adam(self.network.parameters(), config.learning_rate)
        self.crystals: Crystals | None = None
        self.labels = np.empty(0)

    def __deepcopy__(self, memo: dict) -> FittedEnergy:
        """Itself: copies of a policy share the energy."""
        return self

    @torch.no_grad()
    def formation_energy_ev_per_atom(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]:
        """Fitted formation energy in eV per atom."""
        self.n_evaluations += len(crystals)
        return self.network(crystals).double().numpy()

    def add(self, crystals: Crystals, labels_ev_per_atom: Float[np.ndarray, "crystal"]) -> None:
        """Labelled crystals to learn from."""
        self.crystals = crystals if self.crystals is None else join([self.crystals, crystals])
        self.labels = np.concatenate(
            [self.labels, np.minimum(labels_ev_per_atom, self.worst_ev_per_atom)]
        )

    def fit(self, n_steps: int) -> float:
        """Gradient steps on random batches of all labelled crystals; the mean absolute error over the last
        quarter of them, in eV/atom."""
        assert self.crystals is not None
        errors, n = [], len(self.labels)
        for _ in range(n_steps):
            rows = torch.randint(n, (min(self.config.batch, n),), generator=self._generator).numpy()
            found = self.network(self.crystals.select(rows))
            error = found - torch.from_numpy(self.labels[rows]).float()
            loss = functional.huber_loss(error, torch.zeros_like(error), delta=0.5)
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            errors.append(float(error.detach().abs().mean()))
        return float(np.mean(errors[-max(1, n_steps // 4) :]))

    def error_ev_per_atom(
        self, crystals: Crystals, labels_ev_per_atom: Float[np.ndarray, "crystal"]
    ) -> float:
        """Mean absolute error on crystals that it has not learned from."""
        found = self.formation_energy_ev_per_atom(crystals)
        return float(np.abs(found - np.minimum(labels_ev_per_atom, self.worst_ev_per_atom)).mean())

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, labelled crystals and counts: what a checkpoint keeps."""
        data = {}
        if self.crystals is not None:
            names = [field.name for field in fields(Crystals) if field.name != "elements"]
            data = {name: getattr(self.crystals, name) for name in names}
        return {
            "network": dict(self.network.state_dict()),
            "optimiser": self._optimiser.state_dict(),
            "crystals": data,
            "labels": self.labels,
            "n_evaluations": self.n_evaluations,
        }

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        self.network.load_state_dict(stored["network"])
        self._optimiser.load_state_dict(stored["optimiser"])
        self.crystals = None
        if stored["crystals"]:
            self.crystals = Crystals(elements=self._elements, **stored["crystals"])
        self.labels, self.n_evaluations = stored["labels"], stored["n_evaluations"]

"""Random search: crystals drawn uniformly under the same masks and from the same volume prior.

Groups, orbits and the stop are uniform over what is allowed, numbers over the allowed bins: an untrained
policy. Crystals with atoms too close cost no energy and are drawn again, as any sensible search would.
"""

from __future__ import annotations

import torch
from torch import Tensor

from domains.crystals.crystals import Crystals
from domains.crystals.environment import CrystalEnvironment, CrystalState
from domains.crystals.reward import allowed
from workbench.errors import InputError
from workbench.gflownet import rollout, states
from workbench.gflownet.moves import draw, uniform

_CHUNK = 512
_MOST_CHUNKS = 200


class UniformBehaviour:
    """Uniform moves of both kinds."""

    def __init__(self, environment: CrystalEnvironment) -> None:
        self._environment, self._orbits = environment, environment.orbits

    def sample(
        self, state: CrystalState, row: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        stopped = state.orbits.stopped
        mask = self._orbits.forward_mask(state.orbits)
        mask[:, 0] |= stopped  # any entry: the number is set below
        number, log_prob = draw(uniform(mask, torch.float32), generator)
        number = torch.where(stopped, self._orbits.n_actions, number)
        value = torch.zeros(len(row), dtype=torch.float64)
        rows = stopped.nonzero().squeeze(1)
        if len(rows):
            allowed = self._environment.allowed_bins(states.select(state, rows))
            bins, _ = draw(uniform(allowed, torch.float32), generator)
            inside = torch.rand(len(rows), generator=generator, dtype=torch.float64)
            value[rows] = (bins + inside) / self._environment.n_bins
        action = torch.stack([number.double(), value], 1)
        return action, log_prob.masked_fill(stopped, 0.0)


def random_crystals(
    environment: CrystalEnvironment, n: int, generator: torch.Generator
) -> tuple[Crystals, CrystalState]:
    """`n` allowed crystals and their states; fewer where 200 chunks of 512 draws do not hold as many.

    Raises InputError where they hold none."""
    behaviour, found, left = UniformBehaviour(environment), [], n
    for _ in range(_MOST_CHUNKS):
        start = environment.initial_state(_CHUNK)
        blank = torch.zeros(_CHUNK)
        final = rollout.forward(environment, behaviour, start, generator, log_reward=blank).final
        good = torch.from_numpy(allowed(environment.crystals(final)))
        rows = good.nonzero().squeeze(1)[:left]
        if len(rows):
            found.append(states.select(final, rows))
            left -= len(rows)
        if not left:
            break
    if not found:
        raise InputError(
            f"none of {_MOST_CHUNKS * _CHUNK:,} random crystals keeps its atoms apart: allow fewer atoms, or "
            "other space groups"
        )
    state = states.concatenate(found)
    return environment.crystals(state), state

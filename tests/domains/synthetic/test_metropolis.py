"""Metropolis chains have the reward's law."""

from __future__ import annotations

import itertools

import pytest
import torch

from domains.synthetic import BitSequences, Hypergrid, TreeBuilding
from domains.synthetic.metropolis import metropolis
from workbench.errors import InputError


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize(
    "environment",
    [Hypergrid(2, 4), BitSequences(8, 2, 3, exponent=6.0), TreeBuilding(4)],
    ids=lambda e: e.name,
)
def test_the_law_after_many_steps(environment, beta, generator):
    """20,000 chains after 80 steps: each object's share within 5 standard errors of R^beta / Z."""
    n = 20_000
    chain = metropolis(environment, n, generator, beta)
    state, log_reward = next(itertools.islice(chain, 80, None))
    torch.testing.assert_close(log_reward, environment.log_reward(state))
    every = environment.all_states()
    terminal = environment.is_terminal(every)
    law = torch.zeros(environment.n_states, dtype=torch.float64)
    law[terminal] = (beta * environment.log_reward(every)[terminal]).softmax(0)
    counts = torch.bincount(environment.index(state), minlength=len(law)).double()
    deviation = (counts - n * law) / (n * law * (1 - law)).sqrt().clamp_min(1.0)
    assert float(deviation.abs().max()) < 5


def test_no_chain_is_refused(generator):
    with pytest.raises(InputError, match="at least one"):
        next(metropolis(TreeBuilding(3), 0, generator))

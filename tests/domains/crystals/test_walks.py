"""Chains of crystals: they stay crystals of the environment, and rise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.crystals import walks
from domains.crystals.elements import neutral_states
from domains.crystals.environment import CrystalEnvironment
from domains.crystals.equivalents import Equivalents
from domains.crystals.fingerprint import fingerprints
from domains.crystals.ionic import IonicEnergy
from domains.crystals.policy import CrystalPolicy
from domains.crystals.reward import CLOSEST, Reward, RewardConfig
from tests.domains.crystals.crystal_cases import environment, random_crystals
from workbench.gflownet import rollout, states
from workbench.gflownet.trajectories import Needs


@pytest.fixture(scope="module")
def rewarded() -> CrystalEnvironment:
    env = environment(most_atoms=8, fewest_kinds=2, required=(1,))
    env.log_weight = Reward(RewardConfig(beta=4.0), IonicEnergy(), Equivalents(env.parameters))
    return env


@pytest.fixture(scope="module")
def begun(rewarded):
    crystals, state = random_crystals(rewarded, 300)
    good = torch.from_numpy(crystals.closest_ratio() >= CLOSEST)
    good &= rewarded.orbits.has_own_symmetry(state.orbits)
    return walks.begin(rewarded, states.select(state, good.nonzero().squeeze(1)))


def test_chains_rise_and_stay_crystals_of_the_environment(rewarded, begun, generator):
    now = begun
    for _ in range(30):
        now = walks.sweep(rewarded, now, 1.0, generator)
    assert float(now.log_reward.median()) > float(begun.log_reward.median()) + 2.0
    torch.testing.assert_close(now.log_reward, rewarded.log_reward(now.state))
    crystals = rewarded.crystals(now.state)
    assert (crystals.closest_ratio() >= CLOSEST).all()
    assert bool(rewarded.orbits.has_own_symmetry(now.state.orbits).all())
    counts = rewarded.parameters.counts(now.state.orbits)
    assert (counts[:, 1] > 0).all()
    for row in counts:
        kinds = row.nonzero()[0]
        assert neutral_states(rewarded.orbits.elements, kinds, row[kinds]) is not None
    torch.manual_seed(0)
    policy = CrystalPolicy(rewarded, 16, 1)
    behaviour = policy.backward_behaviour(len(counts), generator)
    ways = rollout.backward(rewarded, behaviour, now.state, generator)
    assert bool(policy.score(ways, Needs())[0].log_pf.isfinite().all())  # the policy can build them


def test_an_element_is_renamed_on_the_same_sites(rewarded, begun, generator):
    """Exchanging two elements leaves the places of atoms, and every number, as they were."""
    changed = walks._other_elements(rewarded, begun.state, generator)
    before, after = rewarded.crystals(begun.state), rewarded.crystals(changed)
    moved = 0
    for i in range(len(before)):
        n = int(before.n_atoms[i])
        assert int(after.n_atoms[i]) == n and after.group[i] == before.group[i]
        kinds = [np.bincount(c.kind[i, :n], minlength=4) for c in (before, after)]
        assert sorted(kinds[0].tolist()) == sorted(kinds[1].tolist())
        moved += kinds[0].tolist() != kinds[1].tolist()
        size = [c.volume_per_atom_a3[i] ** (1 / 3) for c in (before, after)]
        places = [c.cartesian[i, :n] / s for c, s in zip((before, after), size, strict=True)]
        rounded = [sorted(map(tuple, p.round(6).tolist())) for p in places]
        assert rounded[0] == rounded[1]
    assert moved > 20
    assert fingerprints(before) != fingerprints(after)


def test_resampling_gives_every_chain_its_share(begun, generator):
    """Systematic: each chain comes as often as its weight asks, up to one."""
    n = len(begun.log_reward)
    found = walks.resampled(begun, begun.log_reward, generator)
    share = begun.log_reward.softmax(0)
    heavy = share > 2.0 / n
    assert bool(heavy.any())
    for log_reward in begun.log_reward[heavy].unique():
        asked = float(share[begun.log_reward == log_reward].sum()) * n
        assert abs(float((found.log_reward == log_reward).sum()) - asked) <= 1.0

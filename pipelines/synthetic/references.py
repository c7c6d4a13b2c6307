"""What the learned sampler is compared with: Metropolis chains and uniform objects at equal cost."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from domains.synthetic.environment import SyntheticEnvironment
from domains.synthetic.metropolis import metropolis
from workbench.gflownet.evaluation import modes_found, total_variation

CHAINS = 256
POINTS = 25
LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Baseline:
    """Metropolis chains at `n_rewards` reward evaluations.

    law          shares of all objects that the chains passed, by state number; None where the states
                 cannot be listed
    evaluations, total_variation   the curve on the way
    modes_found, mean_log_reward   of the last `n_samples` objects
    """

    line: str
    n_rewards: int
    modes_found: int
    mean_log_reward: float
    law: Float[Tensor, "state"] | None
    evaluations: list[int]
    total_variation: list[float]


def run_metropolis(
    environment: SyntheticEnvironment,
    target: Float[Tensor, "state"] | None,
    n_rewards: int,
    n_samples: int,
    generator: torch.Generator,
    beta: float,
) -> Baseline:
    """Chains up to `n_rewards` evaluations of the reward, or five minutes.

    target   R^beta / Z by state number, or None where the states cannot be listed
    """
    n_steps = max(1, n_rewards // CHAINS)
    marks = {round(n_steps ** (i / POINTS)) for i in range(1, POINTS + 1)}
    first_kept = max(0, n_steps - -(-n_samples // CHAINS))
    counts = None if target is None else torch.zeros_like(target)
    modes, rewards, evaluations, curve = [], [], [], []
    began, done = time.perf_counter(), 0
    chains = metropolis(environment, CHAINS, generator, beta)
    for state, log_reward in itertools.islice(chains, n_steps):
        done += 1
        if done > first_kept:
            modes.append(environment.mode(state))
            rewards.append(log_reward.mean())
        if counts is not None and target is not None:
            numbers = environment.index(state)
            counts += torch.bincount(numbers, minlength=len(counts))
            if done in marks:
                evaluations.append(done * CHAINS)
                curve.append(total_variation(counts / counts.sum(), target))
        if time.perf_counter() - began > LONGEST_SECONDS:
            break
    stopped = "" if done == n_steps else ", stopped after five minutes"
    line = (
        f"Metropolis chains: {CHAINS} from uniform random objects, {done:,} steps each, "
        f"{done * CHAINS:,} reward evaluations in all{stopped}; every step counts, none is thrown away."
    )
    found, mean = 0, float("nan")
    if modes:
        found = modes_found(torch.cat(modes), environment.n_modes)
        mean = float(torch.stack(rewards).mean())
    law = None if counts is None else counts / counts.sum()
    return Baseline(line, done * CHAINS, found, mean, law, evaluations, curve)

"""Back-and-forth local search: take back the last moves of an object, rebuild it, and choose.

    K uniform on 1 .. min(depth, n);  x -> s by K steps of P_B;  s -> x' by P_F until it is finished
    rho = log R(x') - log R(x) + log q(x' -> x) - log q(x -> x')
    log q(x -> x') = log p(K | n) + sum log P_B (taken back) + sum log P_F (rebuilt)

Accepting with min(1, e^rho) (Metropolis) or 1 / (1 + e^-rho) (Barker) keeps R / Z invariant whatever the
policy is; a perfect policy of fixed-length objects has rho = 0. x' may have another length: the way
back then takes K' = n' - (n - K) steps, and is impossible where K' > depth.

Kim et al., "Local search GFlowNets" (2024, arXiv 2310.02710). Differs: there K is fixed and lengths too.
The states before s are drawn by P_B as well, so x' comes with a complete trajectory.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.gflownet import rollout, states
from workbench.gflownet.options import LocalSearchConfig
from workbench.gflownet.policy import Policy
from workbench.gflownet.trajectories import Needs, Trajectories, join
from workbench.problem import Environment


def propose(
    environment: Environment,
    policy: Policy,
    trajectories: Trajectories,
    depth: int,
    generator: torch.Generator,
) -> tuple[Trajectories, Trajectories, Int[Tensor, "batch"]]:
    """Present objects with redrawn paths, their changed versions, and the number of the first
    transition in which each pair differs."""
    n, group = len(trajectories), trajectories.group
    old = rollout.backward(
        environment,
        policy.backward_behaviour(n, generator),
        trajectories.final,
        generator,
        group,
        trajectories.log_reward,
    )
    longest = old.n_steps.clamp_max(depth)
    u = torch.rand(n, generator=generator, device=longest.device, dtype=torch.float64)
    cut = old.n_steps - 1 - (u * longest).long()
    at_cut = (old.step == cut[old.row]).nonzero().squeeze(1)
    open_states = states.select(old.visited, at_cut[old.row[at_cut].argsort()])
    rebuilt = rollout.forward(
        environment, policy.behaviour(n, generator), open_states, generator, group
    )
    kept = (old.step < cut[old.row]).nonzero().squeeze(1)
    new = replace(
        rebuilt,
        row=torch.cat([old.row[kept], rebuilt.row]),
        step=torch.cat([old.step[kept], rebuilt.step + cut[rebuilt.row]]),
        visited=states.concatenate([states.select(old.visited, kept), rebuilt.visited]),
        actions=torch.cat([old.actions[kept], rebuilt.actions]),
        undo=torch.cat([old.undo[kept], rebuilt.undo]),
        log_behaviour=torch.cat([old.log_behaviour[kept], rebuilt.log_behaviour]),
    )
    return old, new, cut


@torch.no_grad()
def log_acceptance_ratio(
    policy: Policy,
    old: Trajectories,
    new: Trajectories,
    cut: Int[Tensor, "batch"],
    depth: int,
    beta: float = 1.0,
) -> Float[Tensor, "batch"]:
    """rho of each proposal for the law R^beta; -inf where there is no way back."""
    before, after = policy.score(old, Needs())[0], policy.score(new, Needs())[0]
    changed = [_tail_sums(scores.log_pf, scores.log_pb, cut) for scores in (before, after)]
    (old_pf, old_pb), (new_pf, new_pb) = changed
    n_old, n_new = old.n_steps, new.n_steps
    choices = n_old.clamp_max(depth).double().log() - n_new.clamp_max(depth).double().log()
    rho = beta * (new.log_reward - old.log_reward) + choices + (new_pb + old_pf - old_pb - new_pf)
    return rho.masked_fill(n_new - cut > depth, -torch.inf)


def _tail_sums(log_pf: Tensor, log_pb: Tensor, cut: Tensor) -> tuple[Tensor, Tensor]:
    tail = torch.arange(log_pf.shape[1], device=cut.device) >= cut.unsqueeze(1)
    return (log_pf * tail).sum(1), (log_pb * tail).sum(1)


def accepted(
    config: LocalSearchConfig,
    rho: Float[Tensor, "batch"],
    better: Tensor,
    generator: torch.Generator,
) -> Bool[Tensor, "batch"]:
    """Which proposals are taken. `better` tells where the reward has grown."""
    if config.accept == "improve":
        return better
    u = torch.rand(len(rho), generator=generator, device=rho.device, dtype=torch.float64)
    log_probability = rho if config.accept == "metropolis" else torch.nn.functional.logsigmoid(rho)
    return u.log() < log_probability


def change(
    config: LocalSearchConfig,
    environment: Environment,
    policy: Policy,
    trajectories: Trajectories,
    generator: torch.Generator,
    beta: float = 1.0,
) -> tuple[Trajectories, Trajectories, Bool[Tensor, "batch"]]:
    """One round: the trajectories after it, all that were proposed, and which were taken."""
    old, new, cut = propose(environment, policy, trajectories, config.depth, generator)
    rho = log_acceptance_ratio(policy, old, new, cut, config.depth, beta)
    taken = accepted(config, rho, new.log_reward > old.log_reward, generator)
    stayed, moved = (~taken).nonzero().squeeze(1), taken.nonzero().squeeze(1)
    mixed = join([old.select(stayed), new.select(moved)])
    order = torch.cat([stayed, moved]).argsort()
    return mixed.select(order), new, taken


def search(
    config: LocalSearchConfig,
    environment: Environment,
    policy: Policy,
    trajectories: Trajectories,
    generator: torch.Generator,
    beta: float = 1.0,
) -> tuple[list[Trajectories], float]:
    """All proposals of all rounds, for training, and the fraction that was accepted."""
    proposals, n_taken = [], 0.0
    for _ in range(config.rounds):
        trajectories, new, taken = change(
            config, environment, policy, trajectories, generator, beta
        )
        proposals.append(new)
        n_taken += float(taken.double().mean())
    return proposals, n_taken / config.rounds

"""Parallel tempering (replica exchange): samples prod_r exp(-beta_r u(x_r)), one rung per beta_r.

Every sweep moves all rungs of all ladders by HMC or MALA in one batch, then proposes to swap the
configurations of neighbouring rungs, even pairs on even sweeps and odd pairs on odd ones, with

    log acceptance = (beta_i - beta_{i+1}) (u_i - u_{i+1}).

The deterministic even-odd order is not reversible, and carries configurations along the ladder in
time of order the number of rungs instead of its square. Rung 0 is the target, beta = 1. Ladders are
independent of each other: the spread between them is the error.

During warm-up the betas move so that all swaps are refused equally often, which is the optimal
spacing: Lambda(beta), the sum of refusal rates up to beta, is cut into equal parts.

Geyer, "Markov chain Monte Carlo maximum likelihood" (1991); Okabe, Kawata, Okamoto, Mikami,
"Replica-exchange Monte Carlo" (2001); Syed, Bouchard-Cote, Deligiannidis, Doucet,
"Non-reversible parallel tempering" (2019, arXiv 1905.02939). Different from the last: Lambda
is interpolated linearly in log beta, at three fixed points of the warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.mcmc import hamiltonian, hmc, mala
from workbench.mcmc.hamiltonian import ChainState
from workbench.mcmc.observation import Observation
from workbench.problem import Energy

# Fractions of the warm-up after which the ladder is spaced anew.
RESPACE_AT = (0.125, 0.25, 0.5)
UNMARKED, FROM_COLD, FROM_HOT = 0, 1, 2


@dataclass(frozen=True)
class Config:
    """n_rungs       temperatures; 1 is plain HMC or MALA
    beta_min      inverse temperature of the hottest rung
    adapt_ladder  space the rungs for equal swap rates during warm-up
    n_kept_rungs  how many rungs, from the target up, are observed (stored by `collect`); 1 is the
                  target alone, `n_rungs` is what MBAR over all rungs needs
    move          HMC or MALA; its `n_warmup` is the warm-up of the whole, in sweeps
    """

    n_rungs: int = 8
    beta_min: float = 0.25
    adapt_ladder: bool = True
    n_kept_rungs: int = 1
    move: hmc.Config | mala.Config = field(default_factory=hmc.Config)

    @property
    def n_warmup(self) -> int:
        return self.move.n_warmup


@dataclass(frozen=True, eq=False)
class TemperingState:
    """chains       the `ladder * n_rungs + rung` chains; one step size per rung
    betas        [rung], float64, from 1 down to beta_min
    mark         [ladder, rung]: which end the configuration at that place visited last
    round_trips  [ladder]: journeys from the target to the hottest rung and back, since warm-up
    swapped      [pair], float64: sum of swap acceptances of neighbours, since warm-up
    tried        [pair], float64: number of swaps tried, per ladder
    n_steps      sweeps made
    """

    chains: ChainState
    betas: Float[Tensor, " rung"]
    mark: Int[Tensor, " ladder rung"]
    round_trips: Int[Tensor, " ladder"]
    swapped: Float[Tensor, " pair"]
    tried: Float[Tensor, " pair"]
    n_steps: int

    def swap_rates(self) -> Float[Tensor, " pair"]:
        """Mean swap acceptance of each pair of neighbours; NaN before any was tried."""
        return self.swapped / self.tried


@dataclass(frozen=True, eq=False)
class TemperingInfo:
    """acceptance [rung] of the moves, n_nonfinite proposals refused, swap_acceptance [pair] of this
    sweep (zero for the pairs of the other parity)."""

    acceptance: Float[Tensor, " rung"]
    n_nonfinite: Int[Tensor, ""]
    swap_acceptance: Float[Tensor, " pair"]


def geometric_betas(n_rungs: int, beta_min: float) -> Float[Tensor, " rung"]:
    """Betas from 1 to `beta_min` at equal ratios, float64."""
    exponent = torch.linspace(0.0, 1.0, n_rungs, dtype=torch.float64)
    return torch.tensor(beta_min, dtype=torch.float64) ** exponent


def init(
    config: Config, energy: Energy, x: Float[Tensor, " ladder *event"], generator: torch.Generator
) -> TemperingState:
    """Ladders whose rungs all start at that ladder's row of `x`.

    Raises `InputError` for a config that cannot be used or a start without finite energy.
    """
    _check(config)
    n_ladders, n_rungs = len(x), config.n_rungs
    betas = geometric_betas(n_rungs, config.beta_min).to(x.device)
    rung = torch.arange(n_rungs, device=x.device).repeat(n_ladders)
    chains = hamiltonian.start(
        config.move, energy, x.repeat_interleave(n_rungs, dim=0), betas[rung].to(x), rung
    )
    state = TemperingState(
        chains=chains,
        betas=betas,
        mark=torch.zeros((n_ladders, n_rungs), dtype=torch.int64, device=x.device),
        round_trips=torch.zeros(n_ladders, dtype=torch.int64, device=x.device),
        swapped=torch.zeros(n_rungs - 1, dtype=torch.float64, device=x.device),
        tried=torch.zeros(n_rungs - 1, dtype=torch.float64, device=x.device),
        n_steps=0,
    )
    return _mark_ends(state)


def step(
    config: Config, energy: Energy, state: TemperingState, generator: torch.Generator
) -> tuple[TemperingState, TemperingInfo]:
    """One sweep: a move of every rung, then swaps of the pairs of this sweep's parity."""
    chains, info = hamiltonian.step(config.move, energy, state.chains, generator)
    state = replace(state, chains=chains, n_steps=state.n_steps + 1)
    state, swap_acceptance = swap(state, (state.n_steps - 1) % 2, generator)
    state = _mark_ends(state)
    if state.n_steps <= config.n_warmup:
        state = _warm_up(config, state)
    return state, TemperingInfo(info.acceptance, info.n_nonfinite, swap_acceptance)


def observe(config: Config, state: TemperingState) -> Observation:
    """The coldest `n_kept_rungs` rungs of every ladder; group = ladder."""
    n_ladders, n_rungs = state.mark.shape
    place = torch.arange(n_ladders * n_rungs, device=state.mark.device).view(n_ladders, n_rungs)
    kept = place[:, : config.n_kept_rungs].flatten()
    chains = state.chains
    return Observation(
        chains.x[kept], chains.energy[kept], state.betas[kept % n_rungs], kept // n_rungs
    )


def swap(
    state: TemperingState, parity: int, generator: torch.Generator
) -> tuple[TemperingState, Float[Tensor, " pair"]]:
    """Swaps of the pairs (parity, parity + 1), (parity + 2, parity + 3), ... in every ladder.

    Returns the new state and the mean acceptance probability [pair], zero for pairs not tried.
    """
    n_ladders, n_rungs = state.mark.shape
    pair = torch.arange(n_rungs - 1, device=state.mark.device)[parity::2]
    u = state.chains.energy.double().view(n_ladders, n_rungs)
    log_ratio = (state.betas[pair] - state.betas[pair + 1]) * (u[:, pair] - u[:, pair + 1])
    draw = torch.empty_like(log_ratio).exponential_(generator=generator)
    accept = draw > -log_ratio
    order = torch.arange(n_rungs, device=u.device).repeat(n_ladders, 1)
    order[:, pair] += accept.long()
    order[:, pair + 1] -= accept.long()
    first = n_rungs * torch.arange(n_ladders, device=u.device)[:, None]
    source = (order + first).flatten()
    chains = state.chains
    acceptance = torch.zeros_like(state.swapped)
    acceptance[pair] = torch.exp(log_ratio.clamp(max=0)).mean(0)
    tried = state.tried.clone()
    tried[pair] += 1
    swapped = replace(
        state,
        chains=replace(
            chains,
            x=chains.x[source],
            energy=chains.energy[source],
            force=chains.force[source],
        ),
        mark=state.mark.gather(1, order),
        swapped=state.swapped + acceptance,
        tried=tried,
    )
    return swapped, acceptance


def _mark_ends(state: TemperingState) -> TemperingState:
    """Counts a round trip where a configuration is back at the target from the hottest rung."""
    mark, n_rungs = state.mark.clone(), state.mark.shape[1]
    if n_rungs == 1:
        return state
    returned = mark[:, 0] == FROM_HOT
    mark[:, 0] = FROM_COLD
    mark[:, -1] = torch.where(mark[:, -1] == FROM_COLD, FROM_HOT, mark[:, -1])
    return replace(state, mark=mark, round_trips=state.round_trips + returned)


def _warm_up(config: Config, state: TemperingState) -> TemperingState:
    """Spaces the ladder where it is due, and forgets the counts at the end of warm-up."""
    due = {max(1, round(fraction * config.n_warmup)) for fraction in RESPACE_AT}
    last = state.n_steps == config.n_warmup
    respace = config.adapt_ladder and state.n_steps in due and bool((state.tried > 0).all())
    if respace and not last and config.n_rungs > 2:
        state = _respaced(state)
    if respace or last:
        state = replace(
            state,
            swapped=torch.zeros_like(state.swapped),
            tried=torch.zeros_like(state.tried),
            round_trips=torch.zeros_like(state.round_trips),
        )
    return state


def _respaced(state: TemperingState) -> TemperingState:
    """The ladder with its rungs moved to equal refusal rates, step sizes interpolated."""
    refusal = (1.0 - state.swap_rates()).clamp(min=1e-3).cpu().numpy()
    cumulative = np.concatenate([[0.0], np.cumsum(refusal)])
    log_beta = state.betas.log().cpu().numpy()
    even = np.linspace(0.0, cumulative[-1], len(cumulative))
    new_log_beta = np.interp(even, cumulative, log_beta)

    def moved(column: Tensor) -> Tensor:
        # np.interp wants ascending abscissae, and log beta descends.
        values = np.interp(-new_log_beta, -log_beta, column.cpu().numpy())
        return torch.from_numpy(values).to(column)

    chains = state.chains
    betas = torch.from_numpy(np.exp(new_log_beta)).to(state.betas)
    chains = replace(
        chains,
        beta=betas[chains.group].to(chains.beta),
        log_step=moved(chains.log_step),
        log_step_mean=moved(chains.log_step_mean),
    )
    return replace(state, chains=chains, betas=betas)


def _check(config: Config) -> None:
    if config.n_rungs < 1:
        raise InputError(f"n_rungs is {config.n_rungs}: give at least 1")
    if not 0 < config.beta_min <= 1 or (config.n_rungs > 1 and config.beta_min == 1):
        raise InputError(f"beta_min is {config.beta_min}: give a number above 0 and below 1")
    if not 1 <= config.n_kept_rungs <= config.n_rungs:
        raise InputError(
            f"n_kept_rungs is {config.n_kept_rungs}: give a number from 1 to {config.n_rungs}"
        )

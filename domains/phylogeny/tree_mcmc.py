"""Markov chain Monte Carlo of trees and branch lengths, with heated chains: the classical reference.

Metropolis-Hastings on unrooted trees under the posterior of `tree_target`, with the proposals of
`_tree_move_kernels` (one length, interchange, walking subtree, regraft, all lengths) on a likelihood of
which only the nodes between the change and the root are computed anew. Each ladder is an independent run
of `n_rungs` chains with posteriors to the powers

    beta_r = 1 / (1 + heating r),   r = 0 .. n_rungs - 1,

which exchange places after every round; rung 0 is the sample. C. J. Geyer, "Markov chain Monte Carlo
maximum likelihood" (1991); G. Altekar, S. Dwarkadas, J. P. Huelsenbeck, F. Ronquist, "Parallel Metropolis
coupled Markov chain Monte Carlo for Bayesian phylogenetic inference" (2004). Different from MrBayes:
interchange is a walk of one node; exchanges alternate between even and odd pairs; windows adapt during
the warm-up, then stand still.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domains.phylogeny._tree_chain_kernels import Chains, Law, Records, run_ladder
from domains.phylogeny._tree_move_kernels import LENGTH, LONGEST_WALK, N_DRAWS, N_MOVES, SCALE
from domains.phylogeny.model_moves import move_parameters
from domains.phylogeny.topologies import random_topologies
from domains.phylogeny.tree_moves import hang, unhang
from domains.phylogeny.tree_target import TreeTarget
from domains.phylogeny.trees import Trees, concatenated
from workbench.errors import InputError

WANTED_ACCEPTANCE = 0.4
# How fast windows adapt, and the range they stay in: e^{+-window/2} is the largest factor.
GAIN = 1.0
WINDOW_RANGE = (0.02, 8.0)
LARGEST_EXTENSION = 0.7


@dataclass(frozen=True)
class MoveShares:
    """How often each proposal is made; only ratios matter."""

    length: float = 0.55
    interchange: float = 0.15
    walk: float = 0.22
    regraft: float = 0.06
    scale: float = 0.02


@dataclass(frozen=True)
class Config:
    """n_ladders        independent runs; two or more are needed to judge convergence
    n_rungs          chains per run, the first of them at the posterior itself
    heating          temperature step between rungs
    steps_per_round  proposals between two exchanges; one tree is kept per round
    rounds_per_step  rounds that `step` makes
    n_warmup         rounds at the start that adapt the windows and are not to be used
    n_kept_rungs     rungs whose trees are kept
    extension        probability that a walking subtree goes on after each node
    """

    n_ladders: int = 2
    n_rungs: int = 4
    heating: float = 0.1
    steps_per_round: int = 100
    rounds_per_step: int = 10
    n_warmup: int = 200
    n_kept_rungs: int = 1
    extension: float = 0.5
    shares: MoveShares = field(default_factory=MoveShares)

    def betas(self) -> Float[Tensor, "rung 2"]:
        """Powers of likelihood and prior of each rung."""
        heat = torch.arange(self.n_rungs, dtype=torch.float64) * self.heating
        return (1.0 / (1.0 + heat))[:, None].expand(-1, 2).contiguous()


@dataclass(frozen=True, eq=False)
class ChainState:
    """parent, child, lengths  trees that hang from tip 0 (`tree_moves.Hanging`)
    parameters     free parameters of each chain's model (`model_parameters`)
    rung_to_chain  which chain stands at which rung
    betas          powers of likelihood and prior
    windows        widths of the proposals: lengths, lengths in moves of topology, scale, parameters
    counts         per move: tried, accepted, log-likelihoods computed, nodes computed; the last row is
                   that of model parameters
    swaps          exchanges of neighbouring rungs: tried, accepted
    n_rounds       rounds made
    """

    parent: Int64[Tensor, "ladder chain node"]
    child: Int64[Tensor, "ladder chain node 2"]
    lengths: Float[Tensor, "ladder chain node"]
    parameters: Float[Tensor, "ladder chain parameter"]
    rung_to_chain: Int64[Tensor, "ladder rung"]
    betas: Float[Tensor, "rung 2"]
    windows: Float[Tensor, "ladder rung 4"]
    counts: Int64[Tensor, "ladder rung move 4"]
    swaps: Int64[Tensor, "ladder pair 2"]
    n_rounds: int

    @property
    def n_likelihood_evaluations(self) -> int:
        """Proposals whose likelihood was computed, all chains together."""
        return int(self.counts[..., 2].sum())

    def n_full_evaluations(self) -> float:
        """The same in units of whole trees: nodes computed over inner nodes of a tree."""
        n_inner = self.parent.shape[-1] // 2 - 1
        return float(self.counts[..., 3].sum()) / n_inner

    def acceptance(self) -> Float[Tensor, "ladder rung move"]:
        """Share of proposals accepted; NaN for those never made."""
        return self.counts[..., 1] / self.counts[..., 0]

    def swap_rates(self) -> Float[Tensor, "ladder pair"]:
        return self.swaps[..., 1] / self.swaps[..., 0]


@dataclass(frozen=True, eq=False)
class Trace:
    """What is kept of the rounds of a run.

    trees           of the first rungs, flat in the order [round, ladder, kept]
    log_likelihood  of every rung
    tree_length     sum of the lengths of every rung
    parameters      of the kept rungs
    log_prior       of topology, lengths and parameters, of the kept rungs
    """

    trees: Trees
    log_likelihood: Float[Tensor, "round ladder rung"]
    tree_length: Float[Tensor, "round ladder rung"]
    parameters: Float[Tensor, "round ladder kept parameter"]
    log_prior: Float[Tensor, "round ladder kept"]

    def __len__(self) -> int:
        return len(self.log_likelihood)

    @property
    def log_posterior(self) -> Float[Tensor, "round ladder"]:
        """Of rung 0, not normalised."""
        return self.log_likelihood[..., 0] + self.log_prior[..., 0]

    def ladder_trees(self, ladder: int) -> Trees:
        """Trees of rung 0 of one run, in the order of time."""
        n_rounds, n_ladders, n_kept = self.log_prior.shape
        places = torch.arange(n_rounds * n_ladders * n_kept).view(n_rounds, n_ladders, n_kept)
        return self.trees[places[:, ladder, 0]]

    def last(self, n_rounds: int) -> Trace:
        """The last rounds alone."""
        per_round = self.log_prior[0].numel()
        return Trace(
            self.trees[slice(len(self.trees) - n_rounds * per_round, None)],
            self.log_likelihood[-n_rounds:],
            self.tree_length[-n_rounds:],
            self.parameters[-n_rounds:],
            self.log_prior[-n_rounds:],
        )


def joined(traces: list[Trace]) -> Trace:
    """Traces of rounds that follow each other, as one."""
    return Trace(
        concatenated([trace.trees for trace in traces]),
        torch.cat([trace.log_likelihood for trace in traces]),
        torch.cat([trace.tree_length for trace in traces]),
        torch.cat([trace.parameters for trace in traces]),
        torch.cat([trace.log_prior for trace in traces]),
    )


def init(
    config: Config,
    target: TreeTarget,
    generator: torch.Generator,
    trees: Trees | None = None,
    betas: Float[Tensor, "rung 2"] | None = None,
) -> ChainState:
    """Chains at uniformly drawn topologies with lengths drawn around 0.05, or at `trees`: one, or one per
    ladder.

    `betas` stands for the config's powers. Raises `InputError` for a config that cannot be used.
    """
    _check(config)
    n_ladders, n_rungs = config.n_ladders, config.n_rungs
    n_chains, n_taxa = n_ladders * n_rungs, target.n_taxa
    if trees is None:
        draws = torch.rand(n_chains, 2 * n_taxa - 2, generator=generator, dtype=torch.float64)
        trees = Trees(random_topologies(n_taxa, n_chains, generator), 0.1 * draws + 1e-4)
    else:
        if len(trees) not in (1, n_ladders):
            raise InputError(
                f"{len(trees)} starting trees for {n_ladders} runs: give one, or one per run"
            )
        trees = trees[torch.arange(n_chains) // n_rungs % len(trees)]
        # A length of zero could never leave it by factors.
        trees = Trees(trees.children, torch.where(trees.lengths > 0, trees.lengths, 1e-6))
    hung = hang(trees)
    shape = (n_ladders, n_rungs)
    start = torch.tensor([2.0, 1.0, 0.3, 0.5], dtype=torch.float64)
    return ChainState(
        parent=hung.parent.view(*shape, -1),
        child=hung.child.view(*shape, -1, 2),
        lengths=hung.lengths.view(*shape, -1),
        parameters=target.start.expand(*shape, -1).clone(),
        rung_to_chain=torch.arange(n_rungs).repeat(n_ladders, 1),
        betas=config.betas() if betas is None else betas,
        windows=start.repeat(*shape, 1),
        counts=torch.zeros(*shape, N_MOVES + 1, 4, dtype=torch.int64),
        swaps=torch.zeros(n_ladders, n_rungs - 1, 2, dtype=torch.int64),
        n_rounds=0,
    )


def step(
    config: Config,
    target: TreeTarget,
    state: ChainState,
    generator: torch.Generator,
    n_threads: int = 1,
) -> tuple[ChainState, Trace]:
    """`rounds_per_step` rounds of every ladder; what they do does not depend on `n_threads`."""
    state = _copied(state)
    before = state.counts.clone()
    state = move_parameters(target, state, generator)
    n_rounds, n_rungs = config.rounds_per_step, config.n_rungs
    trace = _empty_trace(config, target, state)
    jobs = []
    for ladder in range(config.n_ladders):
        size = (n_rounds, n_rungs, config.steps_per_round, N_DRAWS)
        draws = torch.rand(size, generator=generator, dtype=torch.float64)
        swaps = torch.rand(n_rounds, n_rungs, generator=generator, dtype=torch.float64)
        jobs.append(_arguments(config, target, state, ladder, draws, swaps, trace))
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda job: run_ladder(*job), jobs))
    state = replace(state, n_rounds=state.n_rounds + n_rounds)
    if state.n_rounds <= config.n_warmup:
        state = replace(state, windows=_adapted(state, before))
    return state, _finished(config, target, state, trace)


def run(
    config: Config,
    target: TreeTarget,
    state: ChainState,
    n_rounds: int,
    generator: torch.Generator,
    n_threads: int = 1,
) -> tuple[ChainState, Trace]:
    """At least `n_rounds` rounds, in whole steps."""
    traces = []
    for _ in range(-(-n_rounds // config.rounds_per_step)):
        state, trace = step(config, target, state, generator, n_threads)
        traces.append(trace)
    return state, joined(traces)


def _check(config: Config) -> None:
    for name in ("n_ladders", "n_rungs", "steps_per_round", "rounds_per_step", "n_kept_rungs"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}: give at least 1")
    if config.n_kept_rungs > config.n_rungs:
        raise InputError(
            f"n_kept_rungs is {config.n_kept_rungs}: there are only {config.n_rungs} rungs"
        )
    if not 0 <= config.extension <= LARGEST_EXTENSION:
        raise InputError(
            f"extension is {config.extension}: give a probability from 0 to {LARGEST_EXTENSION} "
            f"(walks longer than {LONGEST_WALK} nodes are refused)"
        )
    shares = vars(config.shares)
    if min(shares.values()) < 0 or config.shares.length == 0:
        raise InputError(f"the shares of the moves are {shares}: none below zero, length above it")


def _copied(state: ChainState) -> ChainState:
    """The kernel writes in place: what it is given belongs to no one else."""
    names = ("parent", "child", "lengths", "parameters", "rung_to_chain", "counts", "swaps")
    return replace(state, **{name: getattr(state, name).clone() for name in names})


def _empty_trace(config: Config, target: TreeTarget, state: ChainState) -> dict[str, np.ndarray]:
    shape = (config.n_ladders, config.rounds_per_step)
    kept = (*shape, config.n_kept_rungs, 2 * target.n_taxa - 2)
    return {
        "parents": np.empty(kept, np.int64),
        "lengths": np.empty(kept),
        "log_likelihoods": np.empty((*shape, config.n_rungs)),
        "length_sums": np.empty((*shape, config.n_rungs)),
        "chains": np.empty((*shape, config.n_kept_rungs), np.int64),
    }


def _arguments(
    config: Config,
    target: TreeTarget,
    state: ChainState,
    ladder: int,
    draws: Tensor,
    swaps: Tensor,
    trace: dict[str, np.ndarray],
) -> tuple[object, ...]:
    """What `run_ladder` takes, in its order."""
    shares = np.array(list(vars(config.shares).values()))
    parameters = state.parameters[ladder]
    names = ("parent", "child", "lengths", "rung_to_chain", "counts", "swaps")
    law = Law(
        np.cumsum(shares / shares.sum()),
        state.windows[ladder].numpy(),
        config.extension,
        state.betas.numpy(),
        target.rate,
        target.log_parameter_prior(parameters).numpy(),
    )
    return (
        target.sites.tips,
        target.sites.weights,
        target.sites.uniform,
        target.equal_input,
        target.models(parameters),
        Chains(*(getattr(state, name)[ladder].numpy() for name in names)),
        law,
        state.n_rounds,
        draws.numpy(),
        swaps.numpy(),
        Records(**{name: array[ladder] for name, array in trace.items()}),
    )


def _adapted(state: ChainState, before: Tensor) -> Tensor:
    """Windows widened where proposals were accepted too often, narrowed where too rarely."""
    windows = state.windows.clone()
    made = state.counts - before
    for window, move in ((0, LENGTH), (2, SCALE), (3, N_MOVES)):
        tried = made[..., move, 0].double()
        rate = made[..., move, 1] / tried.clamp(min=1)
        factor = torch.exp(GAIN * (rate - WANTED_ACCEPTANCE) * (tried / (tried + 20)))
        windows[..., window] = (windows[..., window] * factor).clamp(*WINDOW_RANGE)
    return windows


def _finished(
    config: Config, target: TreeTarget, state: ChainState, trace: dict[str, np.ndarray]
) -> Trace:
    by_round = {name: torch.from_numpy(array).transpose(0, 1) for name, array in trace.items()}
    chains = by_round["chains"]
    ladders = torch.arange(config.n_ladders)[None, :, None]
    parameters = state.parameters[ladders, chains]
    kept_sums = by_round["length_sums"][..., : config.n_kept_rungs]
    log_prior = (
        target.log_tree_prior(kept_sums)
        + target.log_parameter_prior(state.parameters)[ladders, chains]
    )
    return Trace(
        unhang(by_round["parents"], by_round["lengths"]),
        by_round["log_likelihoods"].contiguous(),
        by_round["length_sums"].contiguous(),
        parameters,
        log_prior,
    )

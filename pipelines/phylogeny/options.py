"""The options of the pipeline: the alignment, what is sampled, with what, how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from domains.phylogeny.forest_options import ForestSettings, Target
from pipelines.options import CommonOptions
from workbench.errors import InputError
from workbench.gflownet.options import GFlowNetConfig

Method = Literal["gflownet", "mcmc", "search"]
EMBEDDED = "mammals-brca1"


@dataclass(frozen=True)
class ChainOptions:
    """Markov chains of trees: the sampler of --method mcmc, the reference of the GFlowNet."""

    runs: int = 2
    """Independent runs; how far they differ is the noise floor of split frequencies."""
    rungs: int = 4
    """Chains of each run, all but the first of them heated."""
    heating: float = 0.1
    """Temperature step between them."""
    steps: int = 100
    """Proposals between two exchanges; one tree of each run is kept per round."""
    rounds: int = 2000
    """Rounds at least; a reference makes more where the GFlowNet computed more likelihoods."""
    burn_in: float = 0.25
    """Share of the rounds that is left out at the start; windows adapt in these alone."""


@dataclass(frozen=True)
class StoneOptions:
    """Stepping-stone estimate of the marginal likelihood."""

    stones: int = 30
    """Powers of the likelihood between prior and posterior; 0 = no estimate."""
    repeats: int = 4
    """Independent repeats, whose spread is the error."""
    rounds: int = 200
    """Rounds that count, after half as many of warm-up."""
    steps: int = 50
    """Proposals in a round."""


@dataclass(frozen=True)
class SearchOptions:
    """Parsimony search: the sampler of --method search, the baseline and the local search of others."""

    evaluations: int = 1_000_000
    """Trees scored; beside a GFlowNet the baseline scores as many as that did."""
    ratchet: int = 20
    """Ratchet rounds after each random start."""
    plateau: float = 0.3
    """Share of the evaluations for the neighbours of the best trees."""
    local: int = 100_000
    """Trees scored by climbing from the GFlowNet's best trees, reported apart; 0 = none."""


@dataclass(frozen=True)
class MrBayesOptions:
    """MrBayes and IQ-TREE, where they are on the PATH."""

    generations: int = 20_000
    """Of each of MrBayes's runs; 0 = neither program is run."""
    limit_seconds: float = 120.0
    """A program that takes longer is stopped and said to have given nothing."""


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions, GFlowNetConfig):
    """Trees of an alignment: their posterior under a substitution model, or the most parsimonious."""

    device: Literal["auto", "cpu"] = "auto"
    """Likelihoods, parsimony and the policy's subtrees are compiled for the CPU."""
    alignment: Path | None = None
    """FASTA, PHYLIP or NEXUS; default: 16 mammals, 600 sites of BRCA1."""
    taxa: tuple[str, ...] = ()
    """Use these taxa alone; presets are sized by the whole alignment."""
    partition: str | None = None
    """Use one set of sites that the NEXUS file declares (charset)."""
    target: Target = "posterior"
    """posterior: trees, lengths; parsimony: topologies in proportion to exp(-steps / temperature)."""
    method: Method = "gflownet"
    """gflownet, mcmc (posterior) or search (parsimony)."""
    model: str = "JC69"
    """As in IQ-TREE, values in braces; a GFlowNet needs all of them given, mcmc samples the others."""
    length_rate: float = 10.0
    """Rate of the exponential prior of edge lengths: their mean is 1 / rate."""
    gaps: Literal["missing", "fifth-state"] = "missing"
    """What a gap is in parsimony; the likelihood always takes it as missing."""
    outgroup: tuple[str, ...] = ()
    """Root the written trees at these taxa."""
    midpoint: bool = False
    """Root the written trees at the midpoint."""

    n_samples: int = 10_000
    """Trees that the sampler draws at the end."""
    n_importance: int = 1024
    """Importance samples of one estimate of the marginal likelihood."""
    n_repeats: int = 10
    """Estimates; their spread is the error."""
    within: int = 4
    """Parsimony: trees up to this many steps above the best are listed."""
    n_kept: int = 1000
    """Parsimony: how many trees are listed at most."""
    n_evaluations: int = 25
    """Times that the marginal likelihood is estimated in training; not counted as its cost."""
    minimum_frequency: float = 0.1
    """Splits below it in all samples do not count in the ASDSF."""
    credible: float = 0.95
    """Level of the credible set of topologies."""
    reference: bool = True
    """Run the classical method beside the GFlowNet."""
    enumerate_up_to: int = 7
    """Compare with all topologies up to this many taxa."""
    forest: ForestSettings = field(default_factory=ForestSettings)
    chain: ChainOptions = field(default_factory=ChainOptions)
    stone: StoneOptions = field(default_factory=StoneOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    programs: MrBayesOptions = field(default_factory=MrBayesOptions)

    def __post_init__(self) -> None:
        CommonOptions.__post_init__(self)
        GFlowNetConfig.__post_init__(self)
        for name in ("n_samples", "n_importance", "n_repeats", "n_kept", "n_evaluations"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give 1 or more")
        if self.within < 0:
            raise InputError(f"--within is {self.within}: give 0 or more steps")
        if not 0 < self.credible <= 1:
            raise InputError(f"--credible is {self.credible:g}: give a level in (0, 1]")
        if not 0 <= self.chain.burn_in < 1:
            raise InputError(f"--chain.burn-in is {self.chain.burn_in:g}: give a share below 1")
        if self.outgroup and self.midpoint:
            raise InputError("--outgroup and --midpoint both say where the root is: give one")
        if self.enumerate_up_to > 7:
            raise InputError(
                f"--enumerate-up-to is {self.enumerate_up_to}: beyond 7 taxa there are too many trees"
            )
        self._check_target()

    def _check_target(self) -> None:
        other = {"mcmc": "posterior", "search": "parsimony"}.get(self.method, self.target)
        if other != self.target:
            raise InputError(
                f"--method {self.method} is for --target {other}, not {self.target}: take gflownet or "
                f"{'search' if self.target == 'parsimony' else 'mcmc'}"
            )
        if self.target == "posterior" and self.gaps != "missing":
            raise InputError(
                "--gaps fifth-state is for --target parsimony: the likelihood takes gaps as missing"
            )
        if self.target == "parsimony" and self.model != "JC69":
            raise InputError(f"--model {self.model} is for --target posterior: parsimony has none")

    @property
    def label(self) -> str:
        stem = self.alignment.stem if self.alignment is not None else EMBEDDED
        return f"{stem}-{self.target}-{self.method}"

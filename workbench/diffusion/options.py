"""Options of the diffusion samplers, free of heavy imports so that a command line lists them fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from workbench.errors import InputError

Control = Literal["none", "variance"]
Divergence = Literal["exact", "hutchinson"]


@dataclass(frozen=True)
class NetworkConfig:
    """Size and scales of a score network.

    width, layers  hidden units per layer and number of layers
    length         standard deviation per coordinate of the target, in its length unit
    fine_length    length below which the target is smooth: the scale of its stiffest mode
    use_force      add the target's own force as a channel (see the module's equation)
    """

    width: int = 64
    layers: int = 3
    length: float = 1.0
    fine_length: float = 0.05
    use_force: bool = True


@dataclass(frozen=True)
class IdemConfig:
    """sigma_min, sigma_max   noise levels of the schedule, length unit of the energy
    draws                  K, energy evaluations per target
    control                "none" (iDEM's estimator) or "variance" (control variate)
    proposal_length        None: draws around the noised point, as in iDEM; a length: draws from the
                           posterior of a Gaussian target of that scale (see `score_target`)
    chain_steps            0: the K draws are weighted, as in iDEM; J: K chains of J Hamiltonian moves
                           start at the clean sample (see `posterior_chains`)
    chain_leapfrog         L, leapfrog steps of such a move: J L + 1 evaluations a chain
    global_draws           M fresh draws of the Gaussian posterior that chains choose from at first;
                           needs a proposal length
    clip                   largest norm of the target, per particle (the paper's); None = no limit
    noise_clip             largest norm of the target in units of 1 / sqrt(h + d^2), per particle, d
                           the fine length; None = no limit. A score is the mean of noise over
                           sqrt(h), so only estimates far out in their own error are cut
    steps                  gradient steps in all
    steps_per_round        gradient steps between two refills of the buffer
    samples_per_round      new samples per refill
    buffer_size            samples kept, first in, first out
    relax_start            the first buffer holds prior draws that were moved downhill to the next
                           minimum of u, instead of prior draws (the paper's)
    batch                  samples per gradient step
    sde_steps              steps of the reverse SDE for refills of the buffer
    final_sde_steps        steps for the samples at the end; None = the same
    diffusion_scale        noise factor of generation; 1 = the model's law
    learning_rate, gradient_norm, ema_decay   of the optimiser
    """

    sigma_min: float = 0.01
    sigma_max: float = 2.0
    draws: int = 128
    control: Control = "variance"
    proposal_length: float | None = None
    chain_steps: int = 0
    chain_leapfrog: int = 10
    global_draws: int = 0
    clip: float | None = None
    noise_clip: float | None = 6.0
    steps: int = 10_000
    steps_per_round: int = 100
    samples_per_round: int = 256
    buffer_size: int = 10_000
    relax_start: bool = False
    batch: int = 256
    sde_steps: int = 100
    final_sde_steps: int | None = None
    diffusion_scale: float = 1.0
    learning_rate: float = 1e-3
    gradient_norm: float = 1.0
    ema_decay: float = 0.999
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        if self.global_draws and (self.proposal_length is None or not self.chain_steps):
            raise InputError(
                "idem.global-draws needs idem.proposal-length and idem.chain-steps: give both"
            )

    def biases(self) -> list[str]:
        """What keeps the samples from following the learned law, in words, for the report."""
        named = []
        if self.clip is not None:
            named.append(f"targets are clipped at norm {self.clip:g} per particle")
        if self.noise_clip is not None:
            named.append(f"targets are clipped at {self.noise_clip:g} / sqrt(h + d^2) per particle")
        if self.diffusion_scale != 1.0:
            named.append(f"samples are cooled by diffusion scale {self.diffusion_scale:g}")
        return named


@dataclass(frozen=True)
class FlowConfig:
    """n_samples    samples drawn with weights; None = as many as raw ones
    n_steps      Runge-Kutta steps
    divergence   "exact", "hutchinson", or None: exact up to 16 dimensions
    probes       random-sign vectors per sample where the divergence is Hutchinson's
    """

    n_samples: int | None = None
    n_steps: int = 100
    divergence: Divergence | None = None
    probes: int = 4

"""Mixtures of isotropic Gaussians: normalised, drawn from exactly, and with exact noised scores.

    p(x) = sum_k w_k N(x; m_k, s_k^2 I),   u = -log p,   log Z = 0
    noised by a variance h:  p_h(x) = sum_k w_k N(x; m_k, (s_k^2 + h) I)

Sources of the two named mixtures: 40 components in the plane, Midgley et al., "Flow Annealed
Importance Sampling Bootstrap" (2022, arXiv 2208.01893); 25 components on a grid, Sendera et al.,
"Improved off-policy training of diffusion samplers" (2024, arXiv 2402.05098). On a CPU the compiled
kernel of `_kernels` does the work, over ten times faster than the torch formula below at 40 components;
other devices use the torch formula.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from domains.synthetic._kernels import mixture_energy_and_force
from workbench.errors import InputError
from workbench.problem import Estimate, KnownAnswers

# Terms this far below the largest cannot change the rounded sum, even times a distance of 10^4.
_CUTOFF = {torch.float32: 32.0, torch.float64: 56.0}
_CHUNK = 2048


class GaussianMixture:
    """An `Energy` and `ExactSampler` on R^space with one standard deviation per component.

    Weights are normalised. Raises `InputError` where the shapes disagree, or where a standard
    deviation or a weight is not positive.
    """

    mean_free = False
    length_unit = "1"

    def __init__(
        self,
        means: Float[Tensor, "component space"],
        standard_deviations: Float[Tensor, "component"],
        weights: Float[Tensor, "component"] | None = None,
        name: str = "gaussian-mixture",
    ) -> None:
        if weights is None:
            weights = torch.ones(len(means))
        if means.ndim != 2 or {standard_deviations.shape, weights.shape} != {means.shape[:1]}:
            raise InputError(
                f"The mixture has means {tuple(means.shape)}, standard deviations "
                f"{tuple(standard_deviations.shape)} and weights {tuple(weights.shape)}: give "
                "[component, space], [component] and [component]."
            )
        if not bool((standard_deviations > 0).all() and (weights > 0).all()):
            raise InputError("A mixture's standard deviations and weights must all be positive.")
        self.name = name
        self.means = means.double().cpu()
        self.standard_deviations = standard_deviations.double().cpu()
        self.weights = weights.double().cpu() / weights.double().sum().cpu()
        self.event_shape: tuple[int, ...] = (means.shape[1],)
        self.degrees_of_freedom = means.shape[1]
        self.known = self._known()

    @classmethod
    def forty(cls) -> GaussianMixture:
        """GMM-40: means uniform in [-40, 40]^2 with seed 0, standard deviation softplus(1)."""
        means = (torch.rand((40, 2), generator=torch.Generator().manual_seed(0)) - 0.5) * 2 * 40
        return cls(means, torch.full((40,), math.log1p(math.e)), name="gmm40")

    @classmethod
    def twenty_five(cls) -> GaussianMixture:
        """25GMM: means on {-10, -5, 0, 5, 10}^2, covariance 0.3 I."""
        axis = torch.arange(-10.0, 11.0, 5.0)
        means = torch.cartesian_prod(axis, axis)
        return cls(means, torch.full((25,), math.sqrt(0.3)), name="gmm25")

    def energy(self, x: Float[Tensor, "batch space"]) -> Float[Tensor, "batch"]:
        """-log p(x) [batch], in kT."""
        return self.energy_and_force(x)[0]

    def energy_and_force(
        self, x: Float[Tensor, "batch space"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch space"]]:
        """-log p(x) [batch] in kT and grad log p(x) [batch, space]."""
        return self._noised(x, 0.0)

    def noised_log_density_and_score(
        self, x: Float[Tensor, "batch space"], variance: float | Float[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch space"]]:
        """log p_h(x) [batch] and its gradient [batch, space]: what a learned score should be.

        `variance` h >= 0 of the added noise: one number or one per point. Raises `InputError` else.
        """
        if not bool((torch.as_tensor(variance) >= 0).all()):
            raise InputError(f"The noise variance is {variance}: it must be zero or positive.")
        energy, score = self._noised(x, variance)
        return -energy, score

    def exact_samples(self, n: int, generator: torch.Generator) -> Float[Tensor, "n space"]:
        """`n` independent draws, float32, on the generator's device."""
        device = generator.device
        component = torch.multinomial(self.weights.to(device), n, True, generator=generator)
        noise = torch.randn((n, *self.event_shape), generator=generator, device=device)
        spread = self.standard_deviations.to(noise)[component, None]
        return self.means.to(noise)[component] + spread * noise

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n space"]:
        """`n` draws, uniform on the box of the means widened by three standard deviations."""
        margin = 3 * float(self.standard_deviations.max())
        draws = torch.rand((n, *self.event_shape), generator=generator, device=generator.device)
        low = (self.means.amin(0) - margin).to(draws)
        high = (self.means.amax(0) + margin).to(draws)
        return low + (high - low) * draws

    def _noised(self, x: Tensor, variance: float | Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 2 or x.shape[1:] != self.event_shape:
            raise InputError(
                f"{self.name} takes points [batch, {self.event_shape[0]}], not {tuple(x.shape)}."
            )
        x = x.detach()
        if isinstance(variance, Tensor) or x.device.type != "cpu" or x.dtype not in _CUTOFF:
            return self._by_torch(x, variance)
        return self._by_kernel(x, variance)

    def _by_kernel(self, x: Tensor, variance: float) -> tuple[Tensor, Tensor]:
        total = self.standard_deviations**2 + variance
        scale = self.weights.log() - 0.5 * self.degrees_of_freedom * (2 * math.pi * total).log()
        energy, force = (
            x.new_empty(len(x)),
            torch.empty_like(x, memory_format=torch.contiguous_format),
        )
        parameters = [t.to(x).numpy() for t in (self.means, scale, 0.5 / total)]
        points = x.contiguous().numpy()
        cutoff = points.dtype.type(_CUTOFF[x.dtype])
        mixture_energy_and_force(  # type: ignore[call-arg]
            points, *parameters, cutoff, energy.numpy(), force.numpy()
        )
        return energy, force

    def _by_torch(self, x: Tensor, variance: float | Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.as_tensor(variance).to(x).expand(len(x))
        pieces = [
            self._energy_and_force(points, h)
            for points, h in zip(x.split(_CHUNK), noise.split(_CHUNK), strict=True)
        ]
        return torch.cat([e for e, _ in pieces]), torch.cat([f for _, f in pieces])

    def _energy_and_force(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        offset = self.means.to(x)[:, None] - x
        total = (self.standard_deviations**2).to(x)[:, None] + noise
        half_dim = 0.5 * self.degrees_of_freedom
        terms = self.weights.log().to(x)[:, None] - half_dim * (2 * math.pi * total).log()
        terms = terms - offset.square().sum(-1) / (2 * total)
        share = terms.softmax(0) / total
        return -terms.logsumexp(0), (share[..., None] * offset).sum(0)

    def _known(self) -> KnownAnswers:
        in_plane = self.event_shape == (2,)
        quadrature = "mean energy by the trapezoid rule, spacing 0.25 sd, to 7 sd round each mean"
        return KnownAnswers(
            log_partition=0.0,
            mean_energy=self._mean_energy_in_plane() if in_plane else None,
            mode_centres=self.means,
            mode_weights=self.weights,
            mode_radius=3 * float(self.standard_deviations.max()),
            source="normalised by construction" + (f"; {quadrature}" if in_plane else ""),
        )

    def _mean_energy_in_plane(self) -> Estimate:
        """sum_k w_k E[-log p(m_k + s_k z)], z standard normal on a grid; error below 1e-9."""
        axis = torch.arange(-7.0, 7.01, 0.25, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        weight = torch.exp(-0.5 * grid.square().sum(1))
        points = self.means[:, None] + self.standard_deviations[:, None, None] * grid
        energy = self._by_kernel(points.reshape(-1, 2), 0.0)[0].reshape(len(self.means), -1)
        return Estimate(float(self.weights @ (energy @ weight) / weight.sum()))

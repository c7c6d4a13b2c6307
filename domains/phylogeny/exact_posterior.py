"""The posterior over all topologies of a few taxa, one marginal likelihood at a time: a known answer.

For every unrooted topology the marginal likelihood  m = int L(t) prod_e rate e^{-rate t_e} dt  is estimated by
importance sampling in z = log t, from a multivariate t law whose centre is the mode of

    h(z) = log L(e^z) + sum_e (log rate - rate e^{z_e} + z_e)

and whose shape is the inverse of -h'' there; -h'' comes from central differences of the analytic gradient.
(J. Geweke, "Bayesian inference in econometric models using Monte Carlo integration", 1989.) The tails of the
t law, with 5 degrees of freedom, cover those of h, so that the weights have a finite variance. Samples are
shared among topologies in proportion to their probability by Laplace's approximation. Topologies
whose Laplace approximation lies more than `cutoff` below the best keep that approximation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domains.phylogeny.batched_lbfgs import minimise
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.summaries import TopologyTable
from domains.phylogeny.topologies import all_topologies, log_n_topologies
from domains.phylogeny.trees import Trees, topology_keys
from workbench.problem import Estimate
from workbench.samples import WeightedSamples

_FREEDOM = 5.0
_STEP = 1e-4
# Curvatures below this (an edge whose likelihood says nothing) would make the proposal too wide.
_SMALLEST_CURVATURE = 0.2
_BATCH = 4096
# What any sampled topology gets, however improbable.
_FEWEST = 500


@dataclass(frozen=True)
class Config:
    """n_samples  importance samples of all topologies together
    rate       of the exponential prior of lengths
    cutoff     topologies this many units of log marginal likelihood below the best, by Laplace's
               approximation, are not sampled
    """

    n_samples: int = 20_000
    rate: float = 10.0
    cutoff: float = 12.0


@dataclass(frozen=True, eq=False)
class ExactPosterior:
    """trees                    every topology, with its most probable lengths (in z)
    log_marginal             [topology] log marginal likelihood given the topology
    stderr                   [topology], 0 where Laplace's approximation stands (see `sampled`)
    sampled                  [topology]
    probability              [topology] posterior
    log_marginal_likelihood  of the data, under uniform topologies
    n_likelihood_evaluations what it took, gradients included
    """

    trees: Trees
    log_marginal: Float[Tensor, "topology"]
    stderr: Float[Tensor, "topology"]
    sampled: Tensor
    probability: Float[Tensor, "topology"]
    log_marginal_likelihood: Estimate
    n_likelihood_evaluations: int

    def table(self) -> TopologyTable:
        """The posterior as a table of topologies, to compare with a sample's."""
        order = torch.argsort(self.probability, descending=True)
        keys: Int64[Tensor, "topology"] = topology_keys(self.trees)
        return TopologyTable(keys[order], self.probability[order], order)


def enumerate_posterior(
    config: Config, likelihood: TreeLikelihood, generator: torch.Generator
) -> ExactPosterior:
    """Every topology of the alignment's taxa. Raises `InputError` for more than 8 taxa."""
    n_taxa = likelihood.patterns.n_taxa
    children = all_topologies(n_taxa)
    before = likelihood.count.n_likelihood
    density = _Density(likelihood, children, config.rate)
    start = torch.full((len(children), 2 * n_taxa - 3), math.log(0.05), dtype=torch.float64)
    found = minimise(density.loss, start)
    mode, height = found.x, -found.value
    curvature = _curvature(density, mode)
    values, vectors = torch.linalg.eigh(curvature)
    values = values.clamp(min=_SMALLEST_CURVATURE)
    dimension = mode.shape[1]
    laplace = height + 0.5 * dimension * math.log(2 * math.pi) - 0.5 * values.log().sum(1)
    sampled = laplace > laplace.max() - config.cutoff
    log_marginal, stderr = laplace.clone(), torch.zeros_like(laplace)
    n_samples = (config.n_samples * torch.softmax(laplace, 0)).long().clamp(min=_FEWEST)
    for i in sampled.nonzero().squeeze(1).tolist():
        root = vectors[i] / values[i].sqrt()
        log_weights = _log_weights(int(n_samples[i]), density, i, mode[i], root, generator)
        estimate = _log_mean(log_weights)
        log_marginal[i], stderr[i] = estimate.value, estimate.stderr
    probability = torch.softmax(log_marginal, 0)
    total = torch.logsumexp(log_marginal, 0) - log_n_topologies(n_taxa)
    error = float((probability * stderr).square().sum().sqrt())
    return ExactPosterior(
        Trees(children, density.lengths(mode)),
        log_marginal,
        stderr,
        sampled,
        probability,
        Estimate(float(total), error),
        likelihood.count.n_likelihood - before,
    )


class _Density:
    """h and its gradient for topologies by index; z [tree, 2n-3] are log lengths of the unrooted edges."""

    def __init__(self, likelihood: TreeLikelihood, children: Tensor, rate: float) -> None:
        self.likelihood, self.children, self.rate = likelihood, children, rate

    def lengths(self, z: Tensor) -> Tensor:
        """[tree, 2n-2]: the whole root edge above tip 0, whose sibling has length zero."""
        return torch.cat([z.exp(), torch.zeros_like(z[:, :1])], 1)

    def log_density(self, z: Tensor, index: Tensor) -> Tensor:
        trees = Trees(self.children[index], self.lengths(z))
        return self.likelihood.log_likelihood(trees) + self._log_prior(z)

    def loss(self, z: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        trees = Trees(self.children[index], self.lengths(z))
        value, slope = self.likelihood.log_likelihood_and_gradient(trees)
        grown = z.exp()
        return -(value + self._log_prior(z)), -((slope[:, :-1] - self.rate) * grown + 1.0)

    def _log_prior(self, z: Tensor) -> Tensor:
        return (math.log(self.rate) - self.rate * z.exp() + z).sum(1)


def _curvature(density: _Density, mode: Tensor) -> Float[Tensor, "topology edge edge"]:
    """-h'' at the modes, by central differences of the gradient."""
    index = torch.arange(len(mode))
    columns = []
    for e in range(mode.shape[1]):
        step = torch.zeros(mode.shape[1], dtype=torch.float64)
        step[e] = _STEP
        higher, lower = density.loss(mode + step, index)[1], density.loss(mode - step, index)[1]
        columns.append((higher - lower) / (2 * _STEP))
    curvature = torch.stack(columns, 2)
    return 0.5 * (curvature + curvature.transpose(1, 2))


def _log_weights(
    n: int,
    density: _Density,
    topology: int,
    centre: Tensor,
    root: Tensor,
    generator: torch.Generator,
) -> Float[Tensor, "sample"]:
    """log of density over proposal for `n` draws of a t law with centre and root of its shape matrix."""
    dimension = len(centre)
    normal = torch.randn(n, dimension, generator=generator, dtype=torch.float64)
    chi = torch.randn(n, int(_FREEDOM), generator=generator, dtype=torch.float64).square().sum(1)
    student = normal / (chi / _FREEDOM).sqrt()[:, None]
    z = centre + student @ root.T
    log_volume = float(torch.linalg.slogdet(root)[1])
    constant = math.lgamma(0.5 * (_FREEDOM + dimension)) - math.lgamma(0.5 * _FREEDOM)
    constant -= 0.5 * dimension * math.log(_FREEDOM * math.pi) + log_volume
    tail = torch.log1p(student.square().sum(1) / _FREEDOM)
    log_proposal = constant - 0.5 * (_FREEDOM + dimension) * tail
    parts = [
        density.log_density(part, torch.full((len(part),), topology)) for part in z.split(_BATCH)
    ]
    return torch.cat(parts) - log_proposal


def _log_mean(log_weights: Tensor) -> Estimate:
    """log of the mean weight with its standard error."""
    samples = WeightedSamples(log_weights[:, None], torch.zeros_like(log_weights), log_weights)
    return samples.log_partition()

"""The two sides of an adversarial game between snapshots and an interpolant, from logits of a discriminator D.

    vanilla   L_D = softplus(-D(real)) + softplus(D(fake)),   L_G = softplus(-D(fake))
    rpgan     L_D = softplus(D(fake) - D(real)),              L_G = softplus(D(real) - D(fake))
    r3gan     rpgan, and L_D + weight/2 ( E |grad_x D(real)|^2 + E |grad_x D(fake)|^2 )

Goodfellow et al., Generative adversarial nets, 2014, arXiv 1406.2661; Huang et al., The GAN is dead; long
live the GAN!, 2024, arXiv 2501.05441, whose penalties are added outside the softplus, as here (the public
code of ALI-CFM has them inside).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from workbench.bridge.options import AdversarialLoss


def discriminator_loss(
    kind: AdversarialLoss, real: Float[Tensor, "batch"], fake: Float[Tensor, "batch"]
) -> Float[Tensor, ""]:
    """Low where real samples have the higher logits."""
    if kind == "vanilla":
        return (softplus(-real) + softplus(fake)).mean()
    return softplus(fake - real).mean()


def generator_loss(
    kind: AdversarialLoss, real: Float[Tensor, "batch"], fake: Float[Tensor, "batch"]
) -> Float[Tensor, ""]:
    """Low where fake samples have the higher logits."""
    if kind == "vanilla":
        return softplus(-fake).mean()
    return softplus(real - fake).mean()


def gradient_penalty(
    logits: Float[Tensor, "batch"], x: Float[Tensor, "batch feature"]
) -> Float[Tensor, ""]:
    """1/2 E |grad_x D|^2, differentiable; `x` must require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * gradient.square().sum(1).mean()

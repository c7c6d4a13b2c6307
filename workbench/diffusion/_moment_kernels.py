"""Compiled CPU kernel of the weighted moments that a Monte-Carlo score target is made of."""

from __future__ import annotations

import numba

compiled = numba.njit(
    cache=True, nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"}, error_model="numpy"
)


@compiled
def weighted_moments(weights, force, noise, mean_force, mean_noise, second):
    """weights [batch, draw], force and noise [batch, draw, dim]; fills mean_force and mean_noise
    [batch, dim] and second [batch, 3]: weighted |force|^2, force . noise and |noise|^2. Draws of
    weight zero are passed over, whatever their force."""
    n_batch, n_draws, _ = force.shape
    for b in range(n_batch):
        total_force, total_noise = mean_force[b], mean_noise[b]
        total_force[:] = 0
        total_noise[:] = 0
        second[b, :] = 0
        for k in range(n_draws):
            weight = weights[b, k]
            if weight > 0:
                _add(weight, force[b, k], noise[b, k], total_force, total_noise, second[b])


@compiled
def _add(weight, force, noise, total_force, total_noise, second):
    ff, fn, nn = weight * 0, weight * 0, weight * 0
    for d in range(len(force)):
        ff += force[d] * force[d]
        fn += force[d] * noise[d]
        nn += noise[d] * noise[d]
    for d in range(len(force)):
        total_force[d] += weight * force[d]
    for d in range(len(force)):
        total_noise[d] += weight * noise[d]
    second[0] += weight * ff
    second[1] += weight * fn
    second[2] += weight * nn

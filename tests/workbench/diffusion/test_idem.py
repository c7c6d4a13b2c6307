"""iDEM: training lowers the error of the score, resumes bit for bit, and names its biases."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from domains.molecules import DoubleWell
from tests.workbench.diffusion.exact import uneven_mixture
from workbench.diffusion import idem
from workbench.diffusion.options import NetworkConfig
from workbench.problem import CountedEnergy
from workbench.runs.folder import RunFolder
from workbench.training.fit import fit

SMALL = idem.Config(
    sigma_min=0.05,
    sigma_max=10.0,
    draws=64,
    steps=200,
    steps_per_round=50,
    samples_per_round=64,
    buffer_size=500,
    batch=64,
    sde_steps=30,
    learning_rate=2e-3,
    ema_decay=0.98,
    proposal_length=3.0,
    network=NetworkConfig(width=32, layers=2, length=2.5, fine_length=0.4),
)


def train(config, energy, n_steps, folder=None):
    generator = torch.Generator().manual_seed(7)
    state = idem.init(config, energy, generator)

    def step(state):
        inner, info = idem.step(config, energy, state[0], generator)
        return (inner, generator), info

    fitted = fit((state, generator), step, n_steps, folder=folder, checkpoint_every=10)
    return fitted.state[0]


def score_error(model, mixture, generator):
    """Root mean square of sqrt(h) (model - exact score) over noised exact samples."""
    t = torch.rand((2000,), generator=generator).clamp_min(0.05)
    h = idem.schedule(SMALL).variance(t)[:, None]
    x = mixture.exact_samples(2000, generator)
    x = x + h.sqrt() * torch.randn(x.shape, generator=generator)
    _, exact = mixture.noised_log_density_and_score(x.double(), h[:, 0].double())
    with torch.no_grad():
        return float((h.sqrt() * (model(x, t) - exact)).square().mean().sqrt())


def test_training_brings_the_score_nearer_to_the_exact_one(generator):
    """The start is good already, for it has the force: 0.21 in units of the noise. A short buffer
    follows the model."""
    mixture = uneven_mixture()
    config = replace(SMALL, steps=600, steps_per_round=20, buffer_size=128)
    start = idem.init(config, mixture, torch.Generator().manual_seed(7))
    before = score_error(start.model, mixture, generator)
    state = train(config, mixture, 600)
    assert score_error(state.average.module, mixture, generator) < 0.75 * before


def test_fresh_states_are_the_same_for_the_same_seed():
    mixture = uneven_mixture()
    a, b = (idem.init(SMALL, mixture, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.buffer, b.buffer)
    for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("energy", [uneven_mixture(), DoubleWell(4)])
def test_resumed_training_is_bit_identical(energy, tmp_path):
    """Stopped between two refills and gone on with: weights, average, buffer, counts and all."""
    config = replace(SMALL, steps=50, steps_per_round=20, samples_per_round=16, batch=16, draws=8)
    whole = train(config, energy, 50)
    with RunFolder.create(tmp_path / "run", {}, "test") as folder:
        train(config, energy, 30, folder)
    with RunFolder.open(tmp_path / "run") as folder:
        resumed = train(config, energy, 50, folder)
    assert resumed.steps_done == whole.steps_done == 50
    assert (resumed.filled, resumed.next_row) == (whole.filled, whole.next_row)
    assert torch.equal(resumed.buffer, whole.buffer)
    for a, b in (
        (resumed.model, whole.model),
        (resumed.average.module, whole.average.module),
    ):
        for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
            assert torch.equal(p, q)


def test_the_buffer_wraps_around_and_holds_only_own_samples():
    """First in, first out: 4 rounds of 64 after the prior's draws fill 500 rows once and go on."""
    config = replace(SMALL, buffer_size=300, steps_per_round=2, sde_steps=3, draws=4, batch=8)
    state = train(config, uneven_mixture(), 8)
    assert state.filled == 300
    assert state.next_row == (4 * 64 + 3 * 64) % 300


def test_every_evaluation_is_counted():
    """One target per row and draw, one force per network call; derivatives of the network with
    respect to its weights need none of the energy's."""
    energy = CountedEnergy(uneven_mixture())
    config = replace(SMALL, draws=10, batch=8)
    generator = torch.Generator().manual_seed(0)
    state = idem.init(config, energy, generator)
    before = energy.n_energy
    idem.step(config, energy, state, generator)
    assert energy.n_energy - before == 8 * 10 + 8
    before = energy.n_energy
    idem.generate(config, energy, state.model, 12, generator)
    assert energy.n_energy - before == 12 * config.sde_steps


def test_generated_samples_come_in_chunks_without_gap():
    energy = DoubleWell(4)
    generator = torch.Generator().manual_seed(0)
    config = replace(SMALL, sde_steps=5)
    model = idem.init(config, energy, generator).model
    x = idem.generate(config, energy, model, 10, generator, chunk=4)
    assert x.shape == (10, 4, 2) and torch.isfinite(x).all()
    assert float(x.mean(1).abs().max()) < 1e-5


def test_clipping_keeps_directions_and_short_vectors():
    score = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    clipped = idem.clip_norm(score, 1.0)
    assert torch.allclose(clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert torch.equal(idem.clip_norm(score, None), score)


def test_biases_are_named():
    plain = idem.Config(noise_clip=None)
    assert plain.biases() == []
    named = replace(plain, clip=20.0, diffusion_scale=0.9).biases()
    assert len(named) == 2
    assert "20" in named[0] and "clipped" in named[0]
    assert "0.9" in named[1] and "diffusion scale" in named[1]
    assert "6" in idem.Config().biases()[0]

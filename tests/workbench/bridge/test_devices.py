"""Every tensor of training and simulation is made where its inputs are.

There is no other device here to try it on, so the default device is `meta`, whose tensors hold nothing: a
tensor made without saying where meets one on the processor and fails.
"""

from __future__ import annotations

import pytest
import torch

from tests.workbench.bridge.gaussians import end
from tests.workbench.bridge.test_data_to_energy import TARGET
from workbench.bridge import data_to_energy, training
from workbench.bridge.options import (
    AdversarialConfig,
    BridgeConfig,
    DataToEnergyConfig,
    UnbalancedConfig,
)
from workbench.bridge.simulation import ode, path_energy, sde

TIMES = torch.tensor([0.0, 1.0, 3.0])
SHORT = AdversarialConfig(pretrain_steps=1, steps=2, batch=16, loss="r3gan")


@pytest.mark.parametrize(
    "method", ["icfm", "otcfm", "sbcfm", "sf2m", "spline", "alicfm", "unbalanced"]
)
def test_bridges(generator, method):
    cells = [torch.randn(30, 2, generator=generator) + t for t in TIMES]
    config = BridgeConfig(
        method=method, batch=16, adversarial=SHORT, unbalanced=UnbalancedConfig(length=10.0)
    )
    problem = training.prepare(config, cells, TIMES, generator)
    state = training.init(config, problem, generator)
    if method == "alicfm":
        state.interpolant = training.adversarial.init(SHORT, problem, generator).interpolant
    model = training.model_of(config, problem, state)
    with torch.device("meta"):
        training.step(config, problem, state)
        paths = ode(model, cells[0], TIMES, method="rk4", steps=4)
        path_energy(model, cells[0], 0.0, 1.0, steps=2)
        if model.has_score:
            paths = sde(model, cells[0], TIMES, model.sigma, generator, steps=2)
    assert paths.x.device == cells[0].device and bool(torch.isfinite(paths.x).all())


def test_the_adversarial_game(generator):
    cells = [torch.randn(30, 2, generator=generator) + t for t in TIMES]
    config = BridgeConfig(method="alicfm", adversarial=SHORT)
    problem = training.prepare(config, cells, TIMES, generator)
    state = training.adversarial.init(SHORT, problem, generator)
    with torch.device("meta"):
        for _ in range(3):
            state, info = training.adversarial.step(SHORT, problem, state)
    assert "discriminator" in info


def test_data_to_energy(generator):
    config = DataToEnergyConfig(n_steps=3, buffer_size=64, starts=8, langevin_warmup=2)
    state = data_to_energy.init(config, end(0, 50, generator), TARGET, generator)
    data = end(0, 50, generator)
    with torch.device("meta"):
        state.steps_done = config.backward_steps - 1
        for _ in range(4):
            state, _ = data_to_energy.step(config, data, TARGET, state)
    assert state.buffer.device == data.device

"""The fit loop: same answer with and without interruption, cadence, and what stops it."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from workbench.runs.folder import RunFolder
from workbench.training.fit import NonFinite, fit
from workbench.training.interrupts import Interrupted, StopRequest
from workbench.training.optimise import Ema, apply_gradients
from workbench.training.progress import Progress, format_seconds, track


@dataclass(frozen=True)
class State:
    net: nn.Module
    optimiser: torch.optim.Optimizer
    ema: Ema
    buffer: torch.Tensor
    generator: torch.Generator
    count: int = 0


def fresh() -> State:
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    return State(net, optimiser, Ema(net), torch.zeros(0, 2), torch.Generator().manual_seed(7))


def step(state: State):
    x = torch.randn(8, 2, generator=state.generator)
    buffer = torch.cat([state.buffer, x])[-20:]
    loss = (state.net(buffer) - buffer.sum(-1, keepdim=True)).square().mean()
    info = apply_gradients(loss, state.net, state.optimiser, max_norm=1.0)
    state.ema.update(state.net)
    return replace(state, buffer=buffer, count=state.count + 1), info


def interrupting(at: int, number: int = signal.SIGINT):
    def stepped(state: State):
        if state.count + 1 == at:
            os.kill(os.getpid(), number)
        return step(state)

    return stepped


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "run", {}, "toy") as run:
        yield run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_resumed_run_equals_an_uninterrupted_one(folder, tmp_path, number):
    def monitor(state):
        return {"score": float(torch.rand((), generator=state.generator))}

    cadence = {"log_every": 2, "checkpoint_every": 5, "monitor": monitor}
    with pytest.raises(Interrupted, match=r"step 13; resume with: workbench resume .*run$"):
        fit(fresh(), interrupting(13, number), 20, folder=folder, **cadence)
    resumed = fit(fresh(), step, 20, folder=folder, **cadence).state

    with RunFolder.create(tmp_path / "whole", {}, "toy") as other:
        whole = fit(fresh(), step, 20, folder=other, **cadence).state
        assert resumed.count == whole.count == 20
        assert torch.equal(resumed.net.weight, whole.net.weight)
        assert torch.equal(resumed.ema.module.weight, whole.ema.module.weight)
        assert torch.equal(resumed.buffer, whole.buffer)
        assert torch.equal(resumed.generator.get_state(), whole.generator.get_state())

        def untimed(run):
            return [(r["step"], r["values"]) for r in run.read_log("training")]

        assert untimed(folder) == untimed(other)


def test_records_after_a_lost_session_are_not_doubled(folder):
    with pytest.raises(RuntimeError):

        def failing(state):
            if state.count == 8:
                raise RuntimeError("power cut")
            return step(state)

        fit(fresh(), failing, 20, folder=folder, log_every=2, checkpoint_every=5)
    fit(fresh(), step, 10, folder=folder, log_every=2, checkpoint_every=5)
    assert [r["step"] for r in folder.read_log("training")] == [2, 4, 5, 6, 8, 10]


def test_a_finished_fit_is_not_repeated_and_its_time_is_remembered(folder):
    first = fit(fresh(), step, 10, folder=folder)

    def never(state):
        raise AssertionError

    again = fit(fresh(), never, 10, folder=folder)
    assert again.seconds == first.seconds > 0
    assert again.cpu_seconds == first.cpu_seconds
    longer = fit(fresh(), step, 12, folder=folder)
    assert longer.seconds > first.seconds


@pytest.mark.parametrize("key", ["loss", "gradient_norm"])
def test_a_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(folder, key):
    def bad(state):
        state, info = step(state)
        return state, {**info, key: float("nan")} if state.count == 13 else info

    with pytest.raises(
        NonFinite, match=rf"step 13 because {key} is nan: the checkpoint of step 10"
    ):
        fit(fresh(), bad, 20, folder=folder, checkpoint_every=5)
    assert fit(fresh(), step, 10, folder=folder).state.count == 10


def test_without_a_folder_nothing_is_written():
    assert fit(fresh(), step, 3).state.count == 3
    with pytest.raises(Interrupted, match="stopped after step 2"):
        fit(fresh(), interrupting(2), 3)


def test_handlers_are_restored_and_only_taken_in_the_main_thread():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGINT) != before
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    assert signal.getsignal(signal.SIGINT) == before

    results = []
    thread = threading.Thread(target=lambda: results.append(fit(fresh(), step, 2).state.count))
    thread.start()
    thread.join()
    assert results == [2]


def test_a_bad_gradient_leaves_the_weights_alone():
    net = nn.Linear(1, 1)
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    before = net.weight.clone()
    info = apply_gradients((net(torch.ones(1)) * float("inf")).sum(), net, optimiser, 1.0)
    assert info["loss"] in (float("inf"), -float("inf"))
    assert torch.equal(net.weight, before)


def test_clipping_reports_the_norm_before_it():
    net = nn.Linear(1, 1, bias=False)
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    before = net.weight.item()
    info = apply_gradients((100.0 * net(torch.ones(1))).sum(), net, optimiser, max_norm=2.0)
    assert info["gradient_norm"] == pytest.approx(100.0)
    assert before - net.weight.item() == pytest.approx(2.0, rel=1e-4)


def test_ema_follows_the_recursion():
    net = nn.Linear(1, 1, bias=False)
    ema, expected = Ema(net, decay=0.5), net.weight.item()
    for n in range(20):
        with torch.no_grad():
            net.weight.fill_(n)
        ema.update(net)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert ema.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert not ema.module.weight.requires_grad


def test_progress_speaks_in_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr("workbench.training.progress.PLAIN_INTERVAL_SECONDS", 0.0)
    with Progress("training", 4, start=2) as progress:
        progress.update(3, {"loss": 0.5})
    assert list(track(range(2), "sampling", 2)) == [0, 1]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training: 3/4, ") and lines[0].endswith("left, loss 0.5")
    assert lines[-1].startswith("sampling: 2/2")


def test_times_are_written_as_clocks():
    assert format_seconds(75.2) == "1:15"
    assert format_seconds(4000) == "1:06:40"

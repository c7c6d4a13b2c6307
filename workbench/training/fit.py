"""The one training loop: `state, info = step(state)`, repeated, logged, saved and resumable.

The loop owns cadence and safety, the algorithm owns the mathematics. Everything that the next
step depends on is in the state (weights, optimiser, buffer, random generators), so a run that was
stopped and resumed goes on bit for bit as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from workbench.errors import InputError
from workbench.runs.folder import RunFolder
from workbench.training import checkpoint
from workbench.training.interrupts import Interrupted, StopRequest
from workbench.training.progress import Progress

State = TypeVar("State")

MUST_BE_FINITE = ("loss", "gradient_norm")


class NonFinite(InputError):
    """A loss or gradient norm was NaN or infinite; the last good checkpoint is kept."""


class Step(Protocol[State]):
    def __call__(self, state: State) -> tuple[State, Mapping[str, float]]: ...


@dataclass(frozen=True)
class Fitted(Generic[State]):
    """The state after the last step, and the time spent in the loop over all its sessions, without
    checkpoints and logging of the run folder."""

    state: State
    seconds: float
    cpu_seconds: float


@dataclass
class _Clock:
    """Wall and processor seconds spent in steps; saved with the state."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


def fit(
    state: State,
    step: Step[State],
    n_steps: int,
    *,
    name: str = "training",
    folder: RunFolder | None = None,
    log_every: int = 10,
    checkpoint_every: int = 100,
    monitor: Callable[[State], Mapping[str, float]] | None = None,
) -> Fitted[State]:
    """Apply `step` until `n_steps` are done, going on from the latest checkpoint of `name`.

    state             a fresh state; overwritten by the checkpoint where the folder holds one
    step              `state -> (state, info)`; info is logged, its `loss` must stay finite
    folder            where to log and to save; None = neither
    log_every         steps between records of metrics.jsonl
    checkpoint_every  steps between checkpoints; one is always written after the last step
    monitor           called on the state before a regular checkpoint; its figures are logged, and
                      `score` (lower is better) decides which checkpoint is kept as the best

    Raises NonFinite (last good checkpoint kept), and Interrupted after SIGINT or SIGTERM once the
    current step is finished and saved.
    """
    loop = _Loop(name, folder, log_every, checkpoint_every, monitor)
    done, state, clock = loop.restore(state)
    with StopRequest() as stop, Progress(name, n_steps, done) as progress:
        while done < n_steps:
            wall, cpu = time.perf_counter(), time.process_time()
            state, info = step(state)
            done += 1
            clock.seconds += time.perf_counter() - wall
            clock.cpu_seconds += time.process_time() - cpu
            loop.check(done, info)
            progress.update(done, info)
            loop.record(done, n_steps, state, info, clock)
            if stop.requested:
                loop.stop(done, state, clock)
    return Fitted(state, clock.seconds, clock.cpu_seconds)


@dataclass
class _Loop(Generic[State]):
    """What `fit` does between two steps."""

    name: str
    folder: RunFolder | None
    log_every: int
    checkpoint_every: int
    monitor: Callable[[State], Mapping[str, float]] | None
    saved: int | None = None

    def restore(self, state: State) -> tuple[int, State, _Clock]:
        clock = _Clock()
        if self.folder is None:
            return 0, state, clock
        found = checkpoint.load_latest(self.folder.checkpoints / self.name, (state, clock))
        if found is None:
            self.folder.forget_after(self.name, 0)
            return 0, state, clock
        self.saved, (state, clock) = found
        self.folder.forget_after(self.name, self.saved)
        return self.saved, state, clock

    def check(self, done: int, info: Mapping[str, float]) -> None:
        for key in MUST_BE_FINITE:
            if key in info and not math.isfinite(info[key]):
                kept = "no checkpoint was written yet"
                if self.saved is not None:
                    kept = f"the checkpoint of step {self.saved} is kept"
                raise NonFinite(
                    f"{self.name} stopped at step {done} because {key} is {info[key]}: {kept}; "
                    "lower the learning rate or the gradient clip and start again"
                )

    def record(
        self, done: int, n_steps: int, state: State, info: Mapping[str, float], clock: _Clock
    ) -> None:
        """Log and save where the cadence asks for it."""
        if self.folder is None:
            return
        last = done == n_steps
        due = last or done % self.checkpoint_every == 0
        values = dict(info)
        if due and self.monitor is not None:
            values.update(self.monitor(state))
        if due or done % self.log_every == 0:
            self.folder.log(done, clock.seconds, values, loop=self.name)
        if due:
            self.save(done, state, clock, values.get("score"))

    def save(self, done: int, state: State, clock: _Clock, score: float | None = None) -> None:
        if self.folder is not None and self.saved != done:
            path = self.folder.checkpoints / self.name
            competes = score is not None and math.isfinite(score)
            checkpoint.save(path, done, (state, clock), best_score=score if competes else None)
            self.saved = done

    def stop(self, done: int, state: State, clock: _Clock) -> None:
        self.save(done, state, clock)
        if self.folder is None:
            raise Interrupted(f"{self.name} stopped after step {done}")
        raise Interrupted(
            f"{self.name} stopped after step {done}; resume with: "
            f"workbench resume {self.folder.path}"
        )

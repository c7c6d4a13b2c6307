"""Training steps of OT-CFM and [SF]2M on snapshots against torchcfm 1.0.7.

5 dimensions, 5 snapshots of 1,000 cells, so 4 intervals, batch 256 per interval, perceptrons of 3 x 64,
AdamW, one thread. Steps per CPU second, repeats of both sides in turn. Theirs solves a plan per minibatch,
as its tutorials do; ours draws from plans solved once, whose cost is left out of the step and counted in
`otcfm_run_vs_torchcfm`, the whole of 2,000 steps. Both sides clip nothing away: ours also clips gradients,
averages weights and sets the learning rate in each step. The other side runs in an environment of its own
(`.venv-bench/torchcfm`, made on first use; PIP_ARGS in the environment is passed to pip).

    python -m tests.benchmarks.bench_bridge
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.peers import peer_python
from workbench.bridge import training
from workbench.bridge.options import BridgeConfig, Method

PEER = "torchcfm==1.0.7"
WORKER = Path(__file__).parent / "torchcfm_worker.py"
DIM, CELLS, SNAPSHOTS, BATCH, SIGMA = 5, 1000, 5, 256, 0.25
REPEATS, STEPS, RUN_STEPS = 7, 20, 2000


class Theirs:
    """The peer's process; each request is answered with its CPU seconds."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [str(peer_python(PEER)), str(WORKER), str(data), str(BATCH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )

    def __enter__(self) -> Theirs:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def seconds_per_step(self, method: str, steps: int) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": method, "steps": steps}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["cpu_seconds"] / steps


class Ours:
    """Training by `training.step`, as a pipeline does it; `prepared_seconds` is the plans' cost."""

    def __init__(self, method: Method, snapshots: np.ndarray) -> None:
        self.config = BridgeConfig(method=method, sigma=SIGMA, batch=BATCH, steps=RUN_STEPS)
        generator = torch.Generator().manual_seed(0)
        cells = [torch.from_numpy(x) for x in snapshots]
        start = time.process_time()
        times = torch.arange(float(len(cells)))
        self.problem = training.prepare(self.config, cells, times, generator)
        self.prepared_seconds = time.process_time() - start
        self.state = training.init(self.config, self.problem, generator)

    def seconds_per_step(self, steps: int) -> float:
        start = time.process_time()
        for _ in range(steps):
            self.state, _ = training.step(self.config, self.problem, self.state)
        return (time.process_time() - start) / steps


def compare(ours: Ours, theirs: Theirs) -> dict[str, Any]:
    """Steps per CPU second of both in turn, the first one changing from repeat to repeat."""
    method = ours.config.method
    ours.seconds_per_step(STEPS), theirs.seconds_per_step(method, 2)
    seconds = []
    for i in range(REPEATS):
        if i % 2 == 0:
            a = ours.seconds_per_step(STEPS)
            b = theirs.seconds_per_step(method, STEPS // 4)
        else:
            b = theirs.seconds_per_step(method, STEPS // 4)
            a = ours.seconds_per_step(STEPS)
        seconds.append((a, b))
    ratios = sorted(b / a for a, b in seconds)
    return {
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "ours": 1.0 / statistics.median(a for a, _ in seconds),
        "theirs": 1.0 / statistics.median(b for _, b in seconds),
        "unit": "steps per CPU second",
    }


def whole_run(step: dict[str, Any], prepared_seconds: float) -> dict[str, Any]:
    """The same with the plans counted, over a training of `RUN_STEPS`."""
    ours = prepared_seconds + RUN_STEPS / step["ours"]
    theirs = RUN_STEPS / step["theirs"]
    scale = theirs / ours / step["ratio"]
    return {
        "ratio": theirs / ours,
        "spread": [scale * bound for bound in step["spread"]],
        "ours": ours,
        "theirs": theirs,
        "unit": f"CPU seconds of {RUN_STEPS} steps with plans",
    }


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).standard_normal((SNAPSHOTS, CELLS, DIM))
    snapshots = (noise + np.arange(SNAPSHOTS)[:, None, None]).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "snapshots.npy"
        np.save(data, snapshots)
        with Theirs(data) as theirs:
            otcfm, sf2m = Ours("otcfm", snapshots), Ours("sf2m", snapshots)
            step = compare(otcfm, theirs)
            return {
                "otcfm_step_vs_torchcfm": step,
                "otcfm_run_vs_torchcfm": whole_run(step, otcfm.prepared_seconds),
                "sf2m_step_vs_torchcfm": compare(sf2m, theirs),
            }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))

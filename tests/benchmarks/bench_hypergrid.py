"""Hypergrid 4 x 8, R0 = 0.1: training and sampling of GFlowNets against torchgfn 2.4.1.

Trajectories per CPU second, one thread, repeats of both in turn: trajectory balance, batch 256,
perceptron of 2 x 256 with a learned P_B on the same trunk, on-policy, Adam at 1e-3 and 0.1 for log Z.
Sampling is that of 16,384 objects from the policies so trained, both sides in batches of 4,096, where
theirs is about twice as fast as in batches of 256; the figure at 256 is given too. Ours evaluates the
policy once at all 8,192 states where that is fewer than the batch will pass; that time is counted.
The other side runs in an environment of its own (`.venv-bench/torchgfn`, made on first use with the
same version of PyTorch; PIP_ARGS in the environment is passed to pip), as a process that is asked for
a few steps at a time.

Then quality: exact total variation after 25 and 60 CPU seconds of training, ours as the `laptop`
preset has it, theirs as above. Its ratio has no spread: one run each.

    python -m tests.benchmarks.bench_hypergrid
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domains.synthetic import Hypergrid
from pipelines.synthetic import preset
from tests.benchmarks.peers import peer_python
from workbench.gflownet import algorithm, exact
from workbench.gflownet.evaluation import total_variation
from workbench.gflownet.options import GFlowNetConfig

PEER = "torchgfn==2.4.1"
WORKER = Path(__file__).parent / "torchgfn_worker.py"
BATCH, REPEATS, STEPS = 256, 9, 12
N_OBJECTS, LARGE_BATCH = 16_384, 4096
LOOKS = (25.0, 60.0)


class Theirs:
    """The peer's process; `ask` sends one request and waits for its answer."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [str(peer_python(PEER)), str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )
        self.trained_cpu_seconds = 0.0

    def __enter__(self) -> Theirs:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def train(self) -> float:
        """Trajectories per CPU second over a few steps."""
        answer = self.ask(do="train", steps=STEPS)
        self.trained_cpu_seconds += answer["cpu_seconds"]
        return answer["trajectories"] / answer["cpu_seconds"]

    def sample(self, batch: int, n: int) -> float:
        """Objects per CPU second."""
        answer = self.ask(do="sample", batches=n // batch, batch=batch)
        return answer["trajectories"] / answer["cpu_seconds"]

    def total_variation(self, grid: Hypergrid, graph: exact.StateGraph) -> float:
        """Its law by our dynamic programme, from the table of its policy."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.npy"
            self.ask(do="policy", path=str(path))
            points = torch.from_numpy(np.load(path))
        return law_distance(graph, torch.cat([points, points]))


class Ours:
    """Training by `algorithm.step`, as a pipeline does it."""

    def __init__(self, grid: Hypergrid, config: GFlowNetConfig) -> None:
        self.grid, self.config = grid, config
        self.generator = torch.Generator().manual_seed(0)
        self.state = algorithm.init(config, grid, self.generator)
        self.trained_cpu_seconds = 0.0

    def train(self, steps: int = STEPS) -> float:
        start = time.process_time()
        for _ in range(steps):
            self.state, _ = algorithm.step(self.config, self.grid, self.state)
        spent = time.process_time() - start
        self.trained_cpu_seconds += spent
        return steps * self.config.batch / spent

    def sample(self, batch: int, n: int) -> float:
        start = time.process_time()
        algorithm.sample(self.grid, self.state.average.module, n, self.generator, batch)
        return n / (time.process_time() - start)

    def total_variation(self, graph: exact.StateGraph) -> float:
        policy: Any = self.state.average.module
        return law_distance(graph, exact.tabulate(graph, policy.forward_log_probs))


def law_distance(graph: exact.StateGraph, log_pf: torch.Tensor) -> float:
    at = graph.terminal
    law = exact.log_visits(graph, log_pf)[at].exp()
    return total_variation(law, graph.log_target[at].exp())


def compare(ours: Callable[[], float], theirs: Callable[[], float]) -> dict[str, Any]:
    """Rates of both in turn, the first one changing from repeat to repeat."""
    ours(), theirs()
    rates = []
    for i in range(REPEATS):
        first, second = (ours, theirs) if i % 2 == 0 else (theirs, ours)
        a, b = first(), second()
        rates.append((a, b) if i % 2 == 0 else (b, a))
    ratios = sorted(a / b for a, b in rates)
    return {
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "ours": statistics.median(a for a, _ in rates),
        "theirs": statistics.median(b for _, b in rates),
        "unit": "trajectories per CPU second",
    }


def quality(theirs: Theirs, grid: Hypergrid) -> dict[str, Any]:
    """Total variation after so many CPU seconds of training."""
    graph = exact.state_graph(grid)
    config = preset("laptop")
    ours = Ours(grid, config)
    figures = {}
    for seconds in LOOKS:
        while ours.trained_cpu_seconds < seconds and ours.state.steps_done < config.steps:
            ours.train(5)
        while theirs.trained_cpu_seconds < seconds:
            theirs.train()
        a, b = ours.total_variation(graph), theirs.total_variation(grid, graph)
        spent = f"{ours.trained_cpu_seconds:.0f} and {theirs.trained_cpu_seconds:.0f} CPU s"
        print(f"total variation after {spent}: {a:.3f} and {b:.3f}", file=sys.stderr)
        figures[f"hypergrid_total_variation_{seconds:.0f}s_vs_torchgfn"] = {
            "ratio": b / a,
            "spread": [b / a, b / a],
            "ours": a,
            "theirs": b,
            "unit": f"total variation after {seconds:.0f} CPU s of training",
        }
    return figures


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    grid = Hypergrid()
    config = GFlowNetConfig(batch=BATCH, learning_rate=1e-3, log_partition_rate=0.1)
    ours = Ours(grid, config)
    with Theirs() as theirs:
        figures = {
            "hypergrid_train_vs_torchgfn": compare(ours.train, theirs.train),
            "hypergrid_sample_vs_torchgfn": compare(
                lambda: ours.sample(LARGE_BATCH, N_OBJECTS),
                lambda: theirs.sample(LARGE_BATCH, N_OBJECTS),
            ),
            "hypergrid_sample_batch_256_vs_torchgfn": compare(
                lambda: ours.sample(BATCH, N_OBJECTS // 4),
                lambda: theirs.sample(BATCH, N_OBJECTS // 4),
            ),
        }
        return figures | quality(theirs, grid)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))

"""torchcfm 1.0.7 on snapshots, in an environment of its own: one request per line, one answer each.

Reads JSON lines from standard input and writes JSON lines to standard output:

    {"do": "otcfm" or "sf2m", "steps": n}   -> {"cpu_seconds": s}

The training step of the library's own single-cell tutorials: a batch per interval, its minibatch plan by exact
optimal transport, one network step on all intervals together. Run by `bench_bridge`, never imported.
"""

import json
import sys
import time

import numpy as np
import torch
from torchcfm.conditional_flow_matching import (
    ExactOptimalTransportConditionalFlowMatcher,
    SchrodingerBridgeConditionalFlowMatcher,
)
from torchcfm.models import MLP

SIGMA, WIDTH = 0.25, 64


class Side:
    """Snapshots from a file, one network per field, one optimiser."""

    def __init__(self, path: str, batch: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002, theirs draws pairs from it
        self.snapshots = [torch.from_numpy(x) for x in np.load(path)]
        self.batch = batch
        dim = self.snapshots[0].shape[1]
        self.velocity = MLP(dim, w=WIDTH, time_varying=True)
        self.score = MLP(dim, w=WIDTH, time_varying=True)
        self.matchers = {
            "otcfm": ExactOptimalTransportConditionalFlowMatcher(sigma=SIGMA),
            "sf2m": SchrodingerBridgeConditionalFlowMatcher(sigma=SIGMA),
        }
        parameters = {
            "otcfm": [*self.velocity.parameters()],
            "sf2m": [*self.velocity.parameters(), *self.score.parameters()],
        }
        self.optimisers = {
            name: torch.optim.AdamW(own, lr=1e-3, weight_decay=1e-5)
            for name, own in parameters.items()
        }

    def batches(self, method: str) -> list:
        parts = []
        for k, (first, second) in enumerate(
            zip(self.snapshots[:-1], self.snapshots[1:], strict=True)
        ):
            x0 = first[torch.randint(len(first), (self.batch,))]
            x1 = second[torch.randint(len(second), (self.batch,))]
            matcher = self.matchers[method]
            found = matcher.sample_location_and_conditional_flow(x0, x1, return_noise=True)
            t, x, u, noise = found
            parts.append((t + k, x, u, noise))
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def step(self, method: str) -> None:
        optimiser = self.optimisers[method]
        optimiser.zero_grad()
        t, x, u, noise = self.batches(method)
        at = torch.cat([x, t[:, None]], dim=1)
        loss = ((self.velocity(at) - u) ** 2).mean()
        if method == "sf2m":
            weight = self.matchers[method].compute_lambda(t % 1)
            loss = loss + ((weight[:, None] * self.score(at) + noise) ** 2).mean()
        loss.backward()
        optimiser.step()

    def train(self, method: str, steps: int) -> float:
        start = time.process_time()
        for _ in range(steps):
            self.step(method)
        return time.process_time() - start


def main(path: str, batch: str) -> None:
    side = Side(path, int(batch))
    for line in sys.stdin:
        request = json.loads(line)
        seconds = side.train(request["do"], request["steps"])
        print(json.dumps({"cpu_seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

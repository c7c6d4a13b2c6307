"""torchgfn 2.4.1 on the hypergrid, in an environment of its own: one request per line, one answer each.

Reads JSON lines from standard input and writes JSON lines to standard output:

    {"do": "train", "steps": n}          -> {"cpu_seconds": s, "trajectories": m}
    {"do": "sample", "batches": n, "batch": b}   -> the same
    {"do": "policy", "path": "x.npy"}    -> {"log_z": z}; log P_F [point, action] of all grid points,
                                            in lexicographic order, in the file

Trajectory balance as in the library's own hypergrid example: learned P_B on the same trunk, Adam at
1e-3 and 0.1 for log Z, on-policy, log-probabilities kept from sampling, which is its fastest way.
Run by `bench_hypergrid`, never imported.
"""

import json
import sys
import time

import numpy as np
import torch
from gfn.estimators import DiscretePolicyEstimator
from gfn.gflownet import TBGFlowNet
from gfn.gym import HyperGrid
from gfn.preprocessors import KHotPreprocessor
from gfn.utils.modules import MLP

DIMENSIONS, HEIGHT, BATCH, WIDTH = 4, 8, 256, 256
REWARDS = {"R0": 0.1, "R1": 0.5, "R2": 2.0}


class Side:
    """The environment, the sampler and its optimiser."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.grid = HyperGrid(DIMENSIONS, HEIGHT, reward_fn_kwargs=REWARDS, validate_modes=False)
        coder = KHotPreprocessor(height=HEIGHT, ndim=DIMENSIONS)
        forward = MLP(coder.output_dim, self.grid.n_actions, WIDTH, 2)
        backward = MLP(coder.output_dim, self.grid.n_actions - 1, WIDTH, 2, trunk=forward.trunk)
        self.forward = DiscretePolicyEstimator(forward, self.grid.n_actions, coder)
        back = DiscretePolicyEstimator(backward, self.grid.n_actions, coder, is_backward=True)
        self.sampler = TBGFlowNet(self.forward, back, init_logZ=0.0)
        self.optimiser = torch.optim.Adam(self.sampler.pf_pb_parameters(), lr=1e-3)
        self.optimiser.add_param_group({"params": self.sampler.logz_parameters(), "lr": 0.1})

    def train(self, steps: int) -> dict:
        start = time.process_time()
        for _ in range(steps):
            drawn = self.sampler.sample_trajectories(self.grid, n=BATCH, save_logprobs=True)
            self.optimiser.zero_grad()
            loss = self.sampler.loss(self.grid, drawn, recalculate_all_logprobs=False)
            loss.backward()
            self.optimiser.step()
        return {"cpu_seconds": time.process_time() - start, "trajectories": steps * BATCH}

    @torch.no_grad()
    def sample(self, batches: int, batch: int) -> dict:
        start = time.process_time()
        for _ in range(batches):
            self.sampler.sample_trajectories(self.grid, n=batch)
        return {"cpu_seconds": time.process_time() - start, "trajectories": batches * batch}

    @torch.no_grad()
    def policy(self, path: str) -> dict:
        axes = [torch.arange(HEIGHT)] * DIMENSIONS
        states = self.grid.states_from_tensor(torch.cartesian_prod(*axes))
        logits = self.forward(states).masked_fill(~states.forward_masks, -torch.inf)
        np.save(path, logits.double().log_softmax(-1).numpy())
        return {"log_z": float(self.sampler.logZ)}


def main() -> None:
    side = Side()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(side, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

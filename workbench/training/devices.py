"""Where the work is done: the device of tensors and the threads of torch."""

from __future__ import annotations

import torch

from workbench.errors import InputError


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises InputError for CUDA where there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f'unknown device "{name}": one of auto, cpu, cuda')
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda: torch finds no CUDA device here; use --device auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def set_threads(n: int) -> None:
    """Threads of torch in this process. Raises InputError below 1."""
    if n < 1:
        raise InputError(f"--threads is {n}: give 1 or more")
    torch.set_num_threads(n)

"""Fixtures shared by all tests: one torch thread, shape checks, and the reference data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def reference_data() -> Callable[[str], Path]:
    """`reference_data("boltzmann/x.npy")`: that file under `WORKBENCH_DATA`, or a skip with the reason."""

    def find(name: str) -> Path:
        root = os.environ.get("WORKBENCH_DATA", "")
        path = Path(root) / name
        if not root or not path.is_file():
            pytest.skip(f"reference file {name} not found: WORKBENCH_DATA is {root or 'not set'}")
        return path

    return find


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)

"""Devices and threads."""

from __future__ import annotations

import pytest
import torch

from workbench.errors import InputError
from workbench.training.devices import resolve_device, set_threads


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match='unknown device "tpu"'):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        assert resolve_device("auto").type == "cpu"
        with pytest.raises(InputError, match="finds no CUDA device"):
            resolve_device("cuda")


def test_threads():
    before = torch.get_num_threads()
    set_threads(before)
    assert torch.get_num_threads() == before
    with pytest.raises(InputError, match="--threads is 0"):
        set_threads(0)

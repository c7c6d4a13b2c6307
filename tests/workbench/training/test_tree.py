"""What goes into a checkpoint comes out bit for bit, or is refused by name."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.training.tree import pack, unpack

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True, slots=True)
class Inner:
    x: torch.Tensor
    label: str = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    items: list = field(default_factory=list)


def round_trip(state, template):
    tree, tensors = pack(state)
    return unpack(json.loads(json.dumps(tree, allow_nan=False)), tensors, template)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int64,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    ],
)
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 3)])
def test_tensors_of_every_kind(dtype, shape):
    x = (torch.rand(shape) * 9).to(dtype)
    y = round_trip({"x": x.T if x.ndim == 2 else x}, {})["x"]
    assert y.dtype == dtype
    assert torch.equal(y, x.T if x.ndim == 2 else x)


def test_scalars_and_containers():
    state = {
        "a": [1, 2.5, None, True, "s"],
        3: (float("inf"), 1e-320),
        "p": Pair(1, np.float32(0.1)),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    }
    back = round_trip(state, {"p": Pair(0, 0)})
    np.testing.assert_array_equal(back.pop("array"), state.pop("array"))
    assert back == state
    assert isinstance(back["p"], Pair)
    assert np.isnan(round_trip([float("nan")], None)[0])


def test_dataclasses_are_built_anew_and_objects_restored_in_place():
    shared = torch.zeros(3)
    state = Outer(Inner(torch.arange(3.0), "b"), [shared, shared])
    template = Outer(Inner(torch.zeros(3)))
    back = round_trip(state, template)
    assert torch.equal(back.inner.x, torch.arange(3.0)) and back.inner.label == "b"
    assert len(back.items) == 2 and template.items == []

    parameter = nn.Parameter(torch.zeros(2))
    restored = round_trip({"p": nn.Parameter(torch.ones(2))}, {"p": parameter})
    assert restored["p"] is parameter and torch.equal(parameter.data, torch.ones(2))


def test_generators_modules_and_optimisers_go_on_identically():
    def make():
        net = nn.Linear(3, 2)
        return net, torch.optim.Adam(net.parameters(), lr=0.1), torch.Generator().manual_seed(1)

    def train(net, optimiser, generator, n):
        for _ in range(n):
            optimiser.zero_grad()
            net(torch.randn(5, 3, generator=generator)).square().mean().backward()
            optimiser.step()

    first, second = make(), make()
    train(*first, 3)
    restored = round_trip(first, second)
    assert all(a is b for a, b in zip(restored, second, strict=True))
    train(*first, 4)
    train(*second, 4)
    assert torch.equal(first[0].weight, second[0].weight)


def test_what_cannot_be_stored_is_refused_with_its_place():
    with pytest.raises(TypeError, match=r"set at state\.a\.1"):
        pack({"a": [1, {2}]})
    with pytest.raises(TypeError, match=r"array at state\.x"):
        pack({"x": np.array(["text"])})


def test_a_template_of_another_shape_is_refused():
    tree, tensors = pack(Outer(Inner(torch.zeros(1))))
    with pytest.raises(InputError, match="a Outer at state"):
        unpack(tree, tensors, Inner(torch.zeros(1)))
    tree["fields"]["extra"] = 1
    with pytest.raises(InputError, match="the fields inner, items, extra"):
        unpack(tree, tensors, Outer(Inner(torch.zeros(1))))

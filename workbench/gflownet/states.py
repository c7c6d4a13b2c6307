"""Rows of states: what every environment's dataclass of tensors can do without methods of its own.

A state is a tensor, `None`, or a dataclass of states, every tensor with a leading batch axis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

S = TypeVar("S")


_FIELD_NAMES: dict[type, tuple[str, ...]] = {}


def _field_names(kind: type) -> tuple[str, ...]:
    if kind not in _FIELD_NAMES:
        _FIELD_NAMES[kind] = tuple(field.name for field in dataclasses.fields(kind))
    return _FIELD_NAMES[kind]


def _combine(function: Callable[..., Tensor], parts: Sequence[Any]) -> Any:
    """`function` on the tensors of `parts`, place by place."""
    first = parts[0]
    if isinstance(first, Tensor):
        return function(*parts)
    if first is None:
        return None
    kind = type(first)
    values = [
        _combine(function, [getattr(part, name) for part in parts]) for name in _field_names(kind)
    ]
    return kind(*values)


def select(state: S, rows: Int[Tensor, "row"]) -> S:
    """The given rows of `state`, in that order, repeats allowed."""
    return _combine(lambda tensor: tensor.index_select(0, rows), [state])


def concatenate(states: Sequence[S]) -> S:
    """One batch out of several, in order."""
    return _combine(lambda *tensors: torch.cat(tensors), states) if len(states) > 1 else states[0]


def where(condition: Bool[Tensor, "batch"], first: S, second: S) -> S:
    """Row by row: `first` where `condition` holds, `second` elsewhere."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.view(-1, *[1] * (a.dim() - 1)), a, b)

    return _combine(choose, [first, second])


def put(state: S, rows: Int[Tensor, "row"], values: S) -> S:
    """A copy of `state` whose given rows hold `values`."""
    return _combine(lambda tensor, new: tensor.index_copy(0, rows, new), [state, values])


def first_tensor(state: Any) -> Tensor | None:
    """Some tensor of `state`; it knows the number of rows and the device."""
    if isinstance(state, Tensor) or state is None:
        return state
    for name in _field_names(type(state)):
        found = first_tensor(getattr(state, name))
        if found is not None:
            return found
    return None


def n_rows(state: Any) -> int:
    """Size of the batch axis."""
    tensor = first_tensor(state)
    if tensor is None:
        raise TypeError(f"a {type(state).__name__} holds no tensor, so its rows cannot be counted")
    return len(tensor)


def row_keys(state: Any) -> Int[Tensor, "batch"]:
    """A number for each row, equal for equal rows; different rows share one with odds of 2^-64 or so."""
    tensor = first_tensor(state)
    key = torch.zeros(
        n_rows(state), dtype=torch.int64, device=None if tensor is None else tensor.device
    )
    for column in _columns(state):
        key = (key ^ column) * 0x2545F4914F6CDD1D
        key = key ^ (key >> 29)
    return key


def _columns(state: Any) -> list[Tensor]:
    """Every column of every tensor of `state`, as 64-bit numbers."""
    if state is None:
        return []
    if isinstance(state, Tensor):
        flat = state.reshape(len(state), -1)
        bits = flat.double().view(torch.int64) if flat.is_floating_point() else flat.long()
        return list((bits + 0x1D8E4E27C47D124F).unbind(1))
    return [
        column for name in _field_names(type(state)) for column in _columns(getattr(state, name))
    ]

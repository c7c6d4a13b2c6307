"""A state as a JSON tree plus named tensors, and back: what a checkpoint file holds.

A state is any nesting of dataclasses, dicts, lists and tuples over tensors, NumPy arrays, numbers,
strings, None, `torch.Generator`s and objects with `state_dict` / `load_state_dict` (modules,
optimisers). `pack` takes it apart without pickle; `unpack` puts it together along a template, a
state of the same shape made afresh by the caller. What others may hold a reference to (generators,
modules, optimisers, parameters) is restored in place; all else is built new.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import InputError

Node: TypeAlias = Any
"""A JSON value: scalars stand for themselves, everything else is `{"kind": ..., ...}`."""


def pack(state: Any) -> tuple[Node, dict[str, Tensor]]:
    """The JSON tree of `state` and the tensors it names, each contiguous, on the CPU and a copy.

    Raises TypeError, naming the place, for a leaf that no checkpoint can hold.
    """
    tensors: dict[str, Tensor] = {}
    return _pack(state, "state", tensors), tensors


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Node:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"kind": "float", "value": repr(value)}
    if isinstance(value, Tensor):
        return _pack_tensor(value, path, tensors)
    if isinstance(value, np.generic):
        return _pack(value.item(), path, tensors)
    if isinstance(value, np.ndarray):
        return {"kind": "array", "value": _pack_tensor(_from_numpy(value, path), path, tensors)}
    if isinstance(value, torch.Generator):
        tensors[path] = value.get_state()
        return {"kind": "generator", "key": path}
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return {"kind": "object", "state": _pack(dict(value.state_dict()), path, tensors)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: _pack(getattr(value, name), f"{path}.{name}", tensors) for name in names}
        return {"kind": "dataclass", "type": type(value).__qualname__, "fields": fields}
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        pairs = [[key, _pack(item, f"{path}.{key}", tensors)] for key, item in value.items()]
        return {"kind": "dict", "items": pairs}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
        return {"kind": "list" if isinstance(value, list) else "tuple", "items": items}
    raise TypeError(f"a checkpoint cannot hold the {type(value).__name__} at {path}")


def _pack_tensor(value: Tensor, path: str, tensors: dict[str, Tensor]) -> Node:
    tensor = value.detach()
    node = {"kind": "tensor", "key": path, "requires_grad": value.requires_grad}
    if tensor.is_complex():
        node["complex"] = True
        tensor = torch.view_as_real(tensor.resolve_conj())
    # clone: safetensors refuses storage shared between names (tied weights, views)
    tensors[path] = tensor.cpu().clone(memory_format=torch.contiguous_format)
    return node


def _from_numpy(value: np.ndarray, path: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(value))
    except TypeError:
        message = f"a checkpoint cannot hold the {value.dtype} array at {path}"
        raise TypeError(message) from None


def unpack(node: Node, tensors: dict[str, Tensor], template: Any) -> Any:
    """The state that `pack` took apart, along `template`.

    Raises InputError where the template has another shape than the stored state.
    """
    return _unpack(node, tensors, template, "state")


def _unpack(node: Node, tensors: dict[str, Tensor], template: Any, path: str) -> Any:
    if not isinstance(node, dict):
        return node
    kind = node["kind"]
    if kind == "float":
        return float(node["value"])
    if kind == "tensor":
        return _unpack_tensor(node, tensors, template)
    if kind == "array":
        return tensors[node["value"]["key"]].numpy()
    if kind == "generator":
        _require(isinstance(template, torch.Generator), path, "a random generator")
        template.set_state(tensors[node["key"]])
        return template
    if kind == "object":
        _require(hasattr(template, "load_state_dict"), path, "a module or optimiser")
        template.load_state_dict(_unpack(node["state"], tensors, None, path))
        return template
    if kind == "dataclass":
        return _unpack_dataclass(node, tensors, template, path)
    if kind == "dict":
        known = template if isinstance(template, dict) else {}
        return {
            key: _unpack(item, tensors, known.get(key), f"{path}.{key}")
            for key, item in node["items"]
        }
    return _unpack_sequence(node, tensors, template, path)


def _unpack_tensor(node: Node, tensors: dict[str, Tensor], template: Any) -> Tensor:
    tensor = tensors[node["key"]]
    if node.get("complex"):
        tensor = torch.view_as_complex(tensor)
    if isinstance(template, nn.Parameter):
        with torch.no_grad():
            template.copy_(tensor)
        return template
    if isinstance(template, Tensor):
        tensor = tensor.to(template.device)
    return tensor.requires_grad_(node["requires_grad"])


def _unpack_dataclass(node: Node, tensors: dict[str, Tensor], template: Any, path: str) -> Any:
    stored, wanted = node["type"], type(template).__qualname__
    _require(dataclasses.is_dataclass(template) and stored == wanted, path, f"a {stored}")
    names = {field.name for field in dataclasses.fields(template)}
    _require(names == set(node["fields"]), path, f"the fields {', '.join(node['fields'])}")
    state = copy.copy(template)
    for name, child in node["fields"].items():
        value = _unpack(child, tensors, getattr(template, name), f"{path}.{name}")
        object.__setattr__(state, name, value)  # frozen dataclasses refuse setattr
    return state


def _unpack_sequence(node: Node, tensors: dict[str, Tensor], template: Any, path: str) -> Any:
    known = template if isinstance(template, list | tuple) else ()
    items = [
        _unpack(item, tensors, known[i] if i < len(known) else None, f"{path}.{i}")
        for i, item in enumerate(node["items"])
    ]
    if node["kind"] == "list":
        return items
    return type(template)(*items) if hasattr(template, "_fields") else tuple(items)


def _require(condition: bool, path: str, what: str) -> None:
    if not condition:
        raise InputError(
            f"the checkpoint holds {what} at {path} and this version of the workbench does not: "
            "resume with the version named in the run's provenance.json, or start a new run"
        )

"""The options of a pipeline as a frozen dataclass, and its way to plain values and back.

A pipeline's `Config` derives from `CommonOptions` and gives every field a default; its fields,
nested dataclasses included, are the options and nothing else. `to_plain` turns a config into what
config.yaml holds, `overlay` lays such values over a config again and refuses what does not fit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from workbench.errors import InputError, nearest

Preset = Literal["smoke", "laptop", "paper"]


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What every pipeline can be told."""

    preset: Preset = "laptop"
    """Table of defaults: smoke (a minute), laptop (2 cores, no GPU), paper (published, GPU)."""
    seed: int = 0
    """Seed of every random number of the run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where tensors live; auto takes CUDA where there is one."""
    threads: int = 1
    """Threads of torch in each process; more than one seldom pays on small batches."""
    processes: int = 1
    """Worker processes for the steps that can be divided."""

    def __post_init__(self) -> None:
        for name in ("threads", "processes"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} is {getattr(self, name)}: give 1 or more")
        if self.seed < 0:
            raise InputError(f"--seed is {self.seed}: give 0 or more")

    @property
    def label(self) -> str:
        """The middle of the default run folder's name: what is sampled, in a word."""
        return str(getattr(self, "system", "run"))


Options = TypeVar("Options")


def overlay(base: Options, values: Mapping[str, Any], path: str = "") -> Options:
    """`base` with the fields named in `values` (plain values, as read from YAML) replaced.

    Raises InputError for an unknown key, naming the nearest, and for a value of the wrong type.
    """
    hints = typing.get_type_hints(type(base))
    names = [field.name for field in dataclasses.fields(base)]  # type: ignore[arg-type]
    changes = {}
    for key, value in values.items():
        if key not in names:
            hint = nearest(str(key), names)
            raise InputError(f'unknown option "{path}{key}"{hint}: see --print-config')
        changes[key] = _convert(value, hints[key], getattr(base, key), f"{path}{key}")
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def _convert(value: Any, hint: Any, current: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        start = current if isinstance(current, typing.cast(type, hint)) else hint()  # type: ignore[operator]
        return overlay(start, value, f"{path}.")
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, hint, current, path)
    if origin is Literal:
        if value in arguments:
            return value
        close = nearest(str(value), [str(choice) for choice in arguments])
        raise InputError(f'option {path} is "{value}"{close}: one of {arguments}')
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return _convert_sequence(value, origin, arguments, path)
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(item, arguments[1], None, path) for key, item in value.items()}
    if hint is Any:
        return value
    return _convert_scalar(value, hint, path)


def _convert_union(value: Any, hint: Any, current: Any, path: str) -> Any:
    for choice in typing.get_args(hint):
        if choice is type(None):
            if value is None:
                return None
            continue
        with contextlib.suppress(InputError):
            return _convert(value, choice, current, path)
    raise _misfit(value, hint, path)


def _convert_sequence(value: Sequence[Any], origin: type, arguments: tuple, path: str) -> Any:
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise InputError(f"option {path} takes {len(arguments)} values, got {list(value)}")
        kinds = list(arguments)
    else:
        kinds = [arguments[0]] * len(value)
    return origin(_convert(v, kind, None, path) for v, kind in zip(value, kinds, strict=True))


def _convert_scalar(value: Any, hint: Any, path: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and (is_number or isinstance(value, str)):
        with contextlib.suppress(ValueError):  # YAML reads 1e-3 as text
            return float(value)
    if hint is int and is_number and value == int(value):
        return int(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise _misfit(value, hint, path)


def _misfit(value: Any, hint: Any, path: str) -> InputError:
    kind = getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)
    return InputError(f"option {path} is {value!r}, which is not of type {kind}")


def to_plain(config: Any) -> Any:
    """A config as plain values, ready for YAML and for `overlay`."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: to_plain(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, Mapping):
        return {key: to_plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_plain(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def default_out(pipeline: str, config: CommonOptions, root: Path = Path("runs")) -> Path:
    """`runs/PIPELINE-SYSTEM-DATE-TIME`, with a number behind it where that exists already."""
    label = re.sub(r"[^\w.-]+", "_", config.label)
    path = root / f"{pipeline}-{label}-{datetime.now():%Y%m%d-%H%M%S}"
    taken = (path.with_name(f"{path.name}-{i}") for i in range(2, 1000))
    return path if not path.exists() else next(p for p in taken if not p.exists())

"""From preset, file and flags to one config: preset < config file < flags.

The preset's table is looked up first, the file laid over it, and the result given to tyro as the
defaults of the flags.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, TypeVar

import tyro

from pipelines.options import CommonOptions, Preset, overlay
from workbench.errors import InputError, nearest

C = TypeVar("C", bound=CommonOptions)


class Pipeline(Protocol[C]):
    """What the command line needs of a pipeline module: see `pipelines.cli`."""

    Config: type[C]
    preset: Any


@dataclass(frozen=True)
class Invocation(Generic[C]):
    """One command line: the resolved options, and what to do with them."""

    options: Annotated[C, tyro.conf.arg(name="")]
    config: Path | None = None
    """A YAML file of options, such as the config.yaml of a run."""
    out: Path | None = None
    """The run folder; default: runs/PIPELINE-SYSTEM-DATE-TIME."""
    print_config: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print every option, resolved, and stop."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON alone on standard output."""


def parse(module: Pipeline[C], pipeline: str, argv: Sequence[str]) -> Invocation[C]:
    """The invocation that `argv` (without the pipeline's name and verb) asks for.

    Raises InputError for an unknown option, a value that does not fit or a bad file; SystemExit(0)
    after printing the help.
    """
    config_class = module.Config
    _refuse_unknown(argv, _flag_names(config_class))
    file = _read_file(_value(argv, "config"), pipeline)
    base = _defaults(module, argv, file)
    return _parse_flags(overlay(base, file), pipeline, argv)


def _defaults(module: Pipeline[C], argv: Sequence[str], file: Mapping[str, Any]) -> C:
    """The preset's config. What it is chosen by (preset, and the other parameters of
    `module.preset`) is looked up ahead of all else, in the flags and then in the file."""

    def given(name: str) -> Any:
        flag = _value(argv, name)
        return flag if flag is not None else file.get(name)

    preset = given("preset") or "laptop"
    known = typing.get_args(Preset)
    if preset not in known:
        raise InputError(f'unknown preset "{preset}"{nearest(str(preset), known)}: one of {known}')
    names = list(inspect.signature(module.preset).parameters)[1:]
    chosen = {name: str(value) for name in names if (value := given(name)) is not None}
    return dataclasses.replace(module.preset(preset, **chosen), preset=preset)


def _parse_flags(default: C, pipeline: str, argv: Sequence[str]) -> Invocation[C]:
    said = io.StringIO()
    try:
        with contextlib.ExitStack() as stack:
            if not {"-h", "--help"} & set(argv):
                stack.enter_context(contextlib.redirect_stderr(said))
                stack.enter_context(contextlib.redirect_stdout(said))
            command: Any = Invocation[type(default)]  # type: ignore[misc]
            return tyro.cli(
                command,
                default=Invocation(options=default),
                args=list(argv),
                prog=f"workbench {pipeline} run",
                description=type(default).__doc__ or "",
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        message = _first_sentence(said.getvalue())
        raise InputError(f"{message}: see workbench {pipeline} run --help") from None


def _first_sentence(box: str) -> str:
    """The message of tyro's framed error, on one line: what stands between its first two rules
    (the frame's upper edge counts as one)."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    paragraphs: list[list[str]] = [[]]
    for line in plain.splitlines():
        if re.match(r"[\s│]*(╭|[─-]{3})", line):
            paragraphs.append([])
        else:
            paragraphs[-1].append(line.strip("│ "))
    message = " ".join(" ".join(paragraphs[min(1, len(paragraphs) - 1)]).split())
    return message.removeprefix("Error parsing ").rstrip(".")


def _flag_names(config_class: type) -> list[str]:
    """Every flag of a pipeline, without dashes in front: `seed`, `idem.n-samples`, `no-x`."""
    names = ["config", "out", "print-config", "json", "help"]
    return names + [flag for _, flag in _fields(config_class, "", "")]


def _fields(config_class: type, path: str, prefix: str) -> Iterable[tuple[str, str]]:
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        dashed = field.name.replace("_", "-")
        if dataclasses.is_dataclass(hints[field.name]):
            inner = typing.cast(type, hints[field.name])
            yield from _fields(inner, f"{path}{field.name}.", f"{prefix}{dashed}.")
            continue
        yield f"{path}{field.name}", f"{prefix}{dashed}"
        if hints[field.name] is bool:
            yield f"{path}{field.name}", f"{prefix}no-{dashed}"


def _refuse_unknown(argv: Sequence[str], known: Sequence[str]) -> None:
    for token in argv:
        if token.startswith("--"):
            name = token[2:].split("=", 1)[0].replace("_", "-")
            if name not in known:
                hint = nearest(token.split("=", 1)[0], [f"--{flag}" for flag in known])
                raise InputError(f"unknown option {token.split('=', 1)[0]}{hint}: see --help")


def _value(argv: Sequence[str], name: str) -> str | None:
    """The last value given to `--name VALUE` or `--name=VALUE`."""
    found = None
    for i, token in enumerate(argv):
        flag, equals, value = token.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") == name:
            following = argv[i + 1] if i + 1 < len(argv) else None
            found = value if equals else following
    return found


def _read_file(path: str | None, pipeline: str) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"cannot read --config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--config {path} is not YAML: {reason}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config {path} holds no options: write one `name: value` per line")
    owner = content.pop("pipeline", pipeline)
    if owner != pipeline:
        raise InputError(f"--config {path} is for `workbench {owner} run`, not for {pipeline}")
    return content

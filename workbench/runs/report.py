"""The report of a run: one HTML file with everything in it, readable without a network.

report.html   figures inlined, escaped text, no script, nothing fetched
report.json   the sections, so that the page can be built again: `workbench report RUN`
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from workbench.errors import InputError
from workbench.runs.files import read_json, write_json, write_text
from workbench.runs.folder import read_config
from workbench.runs.metrics import Figure, read_metrics
from workbench.runs.verdicts import ABSENT, format_beside, format_value, judge, summary

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class FigureFile:
    """A picture: `path` to a PNG or SVG, relative to the run folder or absolute."""

    path: str | Path
    caption: str


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading, its paragraphs, then a table and pictures where there are some."""

    title: str
    lines: Sequence[str] = ()
    figures: Sequence[FigureFile] = ()
    table: Table | None = None


@dataclass(frozen=True)
class _Row:
    """A line of the table of figures, ready to print."""

    name: str
    meaning: str
    value: str
    floor: str
    baseline: str
    reference: str
    unit: str
    n: str
    good: bool | None
    words: list[str] = field(default_factory=list)


def write_report(
    path: Path,
    sections: Iterable[Section],
    *,
    meanings: Mapping[str, str] | None = None,
    higher_is_better: Iterable[str] = (),
) -> Path:
    """Write report.json and report.html of the run at `path`; returns the HTML file.

    The figures, options and provenance are read from the run's own files, so they are to be written
    before. `meanings` gives a phrase per figure; `higher_is_better` names the figures for which
    that holds. Raises InputError for a picture that is missing.
    """
    content = {
        "sections": [_plain_section(path, section) for section in sections],
        "meanings": dict(meanings or {}),
        "higher_is_better": sorted(higher_is_better),
    }
    write_json(path / "report.json", content)
    return rebuild_report(path)


def rebuild_report(path: Path) -> Path:
    """Write report.html of the run at `path` again from its files."""
    pipeline, config = read_config(path)
    if not (path / "report.json").exists():
        raise InputError(f"{path} has no report yet: finish the run with `workbench resume {path}`")
    stored = read_json(path / "report.json")
    higher = frozenset(stored["higher_is_better"])
    figures = _figures(path)
    page = _template("report.html.j2").render(
        pipeline=pipeline,
        run=path.resolve().name,
        label=config.get("system", ""),
        summary=summary(figures, higher) if figures else [],
        rows=_rows(figures, stored["meanings"], higher),
        sections=[_inlined(path, section) for section in stored["sections"]],
        config=yaml.safe_dump(config, sort_keys=False),
        provenance=_provenance(path),
        commands=_commands(path, pipeline),
    )
    write_text(path / "report.html", page)
    return path / "report.html"


def comparison_report(paths: Sequence[Path], out: Path) -> Path:
    """One page for several runs: a row per figure, a column per run, the options that differ."""
    configs = [{"pipeline": name, **config} for name, config in map(read_config, paths)]
    figures = [_figures(path) for path in paths]
    flat = [_flat(config) for config in configs]
    keys = list(dict.fromkeys(key for config in flat for key in config))
    differing = [key for key in keys if len({config.get(key, ABSENT) for config in flat}) > 1]
    names = list(dict.fromkeys(name for run in figures for name in run))
    page = _template("comparison.html.j2").render(
        runs=[path.resolve().name for path in paths],
        options=[(key, [config.get(key, ABSENT) for config in flat]) for key in differing],
        figures=[(name, [_cell(run.get(name)) for run in figures]) for name in names],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def write_index(out: Path, paths: Sequence[Path]) -> Path:
    """A page that links the reports of several runs, with what each report opens with."""
    entries = []
    for path in paths:
        pipeline, config = read_config(path)
        link = Path(os.path.relpath(path / "report.html", out.parent)).as_posix()
        stored = read_json(path / "report.json") if (path / "report.json").exists() else {}
        higher = frozenset(stored.get("higher_is_better", ()))
        entries.append((pipeline, config.get("system", ""), link, summary(_figures(path), higher)))
    write_text(out, _template("index.html.j2").render(entries=entries))
    return out


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("workbench.runs"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _figures(path: Path) -> dict[str, Figure]:
    file = path / "metrics.json"
    return read_metrics(file) if file.exists() else {}


def _rows(
    figures: Mapping[str, Figure], meanings: Mapping[str, str], higher: frozenset[str]
) -> list[_Row]:
    rows = []
    for name, figure in figures.items():
        verdict = judge(name, figure, name in higher)
        rows.append(
            _Row(
                name=name,
                meaning=meanings.get(name, ""),
                value=format_value(figure.value, figure.stderr),
                floor=_optional(figure.floor),
                baseline=_optional(figure.baseline, figure.stderr),
                reference=_optional(figure.reference, figure.stderr),
                unit=figure.unit or "",
                n=_optional(figure.n),
                good=verdict.good,
                words=verdict.words,
            )
        )
    return rows


def _optional(number: float | int | None, stderr: float | None = None) -> str:
    return "" if number is None else format_beside(number, stderr)


def _cell(figure: Figure | None) -> tuple[str, str]:
    """The value, and in small letters what it is judged by."""
    if figure is None:
        return ABSENT, ""
    beside = {
        "floor": figure.floor,
        "baseline": figure.baseline,
        "reference": figure.reference,
    }
    notes = [f"{name} {format_value(x)}" for name, x in beside.items() if x is not None]
    return format_value(figure.value, figure.stderr), figure.why or ", ".join(notes)


def _plain_section(run: Path, section: Section) -> dict[str, Any]:
    """A section as JSON values; a picture inside the run folder is named relative to it, so that
    the folder can be moved."""
    record = asdict(section)
    for picture in record["figures"]:
        file = run / picture["path"]  # an absolute path stays as it is
        inside = file.resolve().is_relative_to(run.resolve())
        target = file.resolve().relative_to(run.resolve()) if inside else file
        picture["path"] = target.as_posix()
    return record


def _inlined(run: Path, section: dict[str, Any]) -> dict[str, Any]:
    pictures = [
        {"source": _data_uri(run / picture["path"]), "caption": picture["caption"]}
        for picture in section["figures"]
    ]
    return section | {"figures": pictures}


def _data_uri(path: Path) -> str:
    kind = _MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"picture {path} is neither PNG nor SVG: save it as one of them")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read picture {path}: {error.strerror}") from error
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _provenance(path: Path) -> dict[str, str]:
    record = read_json(path / "provenance.json")
    del record["schema_version"]
    versions = record.pop("library_versions", {})
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return {**_flat(record), "libraries": listed}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as `{"a.b": "text"}`, for tables."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            flat[f"{prefix}{key}"] = " ".join(map(str, value))
        else:
            flat[f"{prefix}{key}"] = ABSENT if value is None else str(value)
    return flat


def _commands(path: Path, pipeline: str) -> list[str]:
    return [
        f"workbench {pipeline} run --config {path / 'config.yaml'} --out NEW_RUN",
        f"workbench resume {path}",
        f"workbench sample {path} --n 1000",
        f"workbench report {path}",
    ]

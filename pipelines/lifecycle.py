"""What every pipeline does alike: make or open a run folder, work in it, and finish it.

A pipeline named NAME has beside its options two modules, imported only when work begins:

    prepare.problem(config) -> Problem     reads and checks the input; raises InputError before any
                                           folder is made
    steps.work(config, problem, folder)    everything from the first step to the report; what is
                                           done already is not done again
    steps.more_samples(config, problem, folder, n) -> Path
                                           draw more into the folder, return the file written

and gets `run`, `resume` and `sample` of the contract in `pipelines.cli` from

    run, resume, sample = lifecycle("NAME", Config)
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pipelines.options import CommonOptions
    from workbench.runs.folder import RunFolder
    from workbench.runs.metrics import Figure
    from workbench.runs.report import Section


class Lifecycle(NamedTuple):
    """The three entries of a pipeline."""

    run: Callable[..., Path]
    """`run(config, out=None)`: make the run folder, do everything, return the folder."""
    resume: Callable[[Path], Path]
    """`resume(path)`: go on from the last good checkpoint; a finished run is evaluated again."""
    sample: Callable[[Path, int], Path]
    """`sample(path, n)`: draw n more into the run and return the file that holds them."""


def lifecycle(pipeline: str, config_class: type[Any]) -> Lifecycle:
    """`run`, `resume` and `sample` of a pipeline.

    Each raises InputError for input that cannot be used and for a full disk; what was computed
    before stays in the folder."""

    def parts() -> tuple[ModuleType, ModuleType]:
        module = f"pipelines.{pipeline}"
        return importlib.import_module(f"{module}.prepare"), importlib.import_module(
            f"{module}.steps"
        )

    def run(config: CommonOptions, out: Path | None = None) -> Path:
        from pipelines.options import default_out, to_plain
        from workbench.runs.folder import RunFolder

        prepare, steps = parts()
        problem = prepare.problem(config)
        out = out or default_out(pipeline, config)
        with RunFolder.create(out, to_plain(config), pipeline) as folder, _room_on_disk(folder):
            steps.work(config, problem, folder)
        return out

    def resume(path: Path) -> Path:
        from workbench.runs.folder import RunFolder

        prepare, steps = parts()
        with RunFolder.open(path) as folder, _room_on_disk(folder):
            config = _config_of(folder)
            steps.work(config, prepare.problem(config), folder)
        return path

    def sample(path: Path, n: int) -> Path:
        from workbench.runs.folder import RunFolder

        prepare, steps = parts()
        with RunFolder.open(path) as folder, _room_on_disk(folder):
            config = _config_of(folder)
            return steps.more_samples(config, prepare.problem(config), folder, n)

    def _config_of(folder: RunFolder) -> Any:
        from pipelines.options import overlay

        return overlay(config_class(), folder.config)

    return Lifecycle(run, resume, sample)


@contextlib.contextmanager
def _room_on_disk(folder: RunFolder) -> Iterator[None]:
    """Turns a full disk, whatever was being written, into one sentence."""
    from workbench.runs.files import full_disk

    try:
        yield
    except OSError as error:
        raise full_disk(folder.path, error) from error


def finish(
    config: CommonOptions,
    folder: RunFolder,
    figures: dict[str, Figure],
    sections: Sequence[Section],
    evaluation: ModuleType,
    **provenance: Any,
) -> None:
    """The last step of a run: provenance, metrics and report. Adds the figure `seconds_total`.

    `evaluation` is the pipeline's module with `MEANINGS` (a sentence per figure) and
    `HIGHER_IS_BETTER` (names of the figures of which more is better)."""
    from workbench.runs.metrics import Figure
    from workbench.runs.report import write_report
    from workbench.training.devices import resolve_device

    folder.write_provenance(
        **provenance,
        seed=config.seed,
        device=str(resolve_device(config.device)),
        threads=config.threads,
    )
    total = Figure(folder.seconds_in_use, unit="s")
    folder.write_metrics(figures | {"seconds_total": total})
    write_report(
        folder.path,
        sections,
        meanings=evaluation.MEANINGS,
        higher_is_better=evaluation.HIGHER_IS_BETTER,
    )

"""A pipeline in miniature, to test the command line with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipelines.options import CommonOptions, overlay, to_plain
from workbench.errors import InputError


@dataclass(frozen=True)
class Sampler:
    """How to sample."""

    n_samples: int = 10
    """Samples per step."""
    rate: float = 0.1
    scale: float | None = None
    clip: bool = True


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions):
    """A toy."""

    system: Literal["coin", "die", "broken", "endless"] = "coin"
    sampler: str = "mala"
    elements: tuple[str, ...] = ("Sr",)
    box: tuple[float, float] = (1.0, 2.0)
    pdb: Path | None = None
    n_steps: int = 5
    fast: bool = False
    mala: Sampler = field(default_factory=Sampler)


DEMO = (("--system", "coin"), ("--system", "die"))


def preset(name: str, system: str = "coin", sampler: str | None = None) -> Config:
    steps = {"smoke": 2, "laptop": 20, "paper": 200}[name] * (10 if system == "die" else 1)
    return Config(system=system, sampler=sampler or "mala", n_steps=steps)  # type: ignore[arg-type]


def run(config: Config, out: Path) -> Path:
    from workbench.runs.folder import RunFolder
    from workbench.runs.metrics import Figure
    from workbench.runs.report import Section, write_report

    if config.system == "broken":
        raise InputError("the system is broken: mend it")
    print("chatter on standard output")
    with RunFolder.create(out, to_plain(config), "toy") as folder:
        if config.system == "endless":
            raise KeyboardInterrupt
        folder.write_metrics({"n_steps": Figure(config.n_steps), "bad": Figure(float("nan"))})
        write_report(folder.path, [Section("Result", [f"{config.n_steps} steps"])])
    return out


def resume(path: Path) -> Path:
    from workbench.runs.folder import RunFolder
    from workbench.runs.metrics import Figure

    with RunFolder.open(path) as folder:
        config = overlay(Config(), folder.config)
        folder.write_metrics({"n_steps": Figure(config.n_steps)})
    return path


def sample(path: Path, n: int) -> Path:
    file = path / "more.txt"
    file.write_text("x\n" * n)
    return file

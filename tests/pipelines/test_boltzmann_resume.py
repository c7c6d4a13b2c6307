"""A run that is stopped from outside and resumed gives the figures of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.boltzmann import presentation
from tests.pipelines.boltzmann_runs import SMALL, VACUUM, run
from tests.pipelines.finished import blank_picture, untimed

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)


def stopped_by_a_signal(out: Path, loop: str, flags: list[str], number: int) -> str:
    """Starts the run in a process of its own, stops it in the middle of `loop`, returns its words."""
    command = [sys.executable, "-m", "pipelines.cli", "boltzmann", "run", "--preset", "smoke"]
    process = subprocess.Popen(
        [*command, *SMALL, *flags, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and f'"loop": "{loop}"' in log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said


def last_step(out: Path, loop: str) -> int:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return max(record["step"] for record in records if record["loop"] == loop)


def test_training_stopped_by_sigterm(tmp_path):
    flags = ["--system", "gmm40", "--idem.steps", "400", "--no-baseline"]
    out = tmp_path / "stopped"
    said = stopped_by_a_signal(out, "training", flags, signal.SIGTERM)
    assert f"workbench resume {out}" in said and "Traceback" not in said
    assert last_step(out, "training") < 400 and not (out / "metrics.json").exists()
    assert cli.main(["resume", str(out)]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(out) == untimed(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "sampler", "loop", "size"),
    [
        ("lj21", "pt", "chains", ["--chain.kept", "300"]),
        (VACUUM, "md", "md", ["--n-samples", "400"]),
    ],
)
def test_chains_and_dynamics_stopped_by_sigint(system, sampler, loop, size, tmp_path):
    flags = ["--system", system, "--sampler", sampler, *size]
    out = tmp_path / "stopped"
    said = stopped_by_a_signal(out, loop, flags, signal.SIGINT)
    assert "Traceback" not in said
    assert not (out / "metrics.json").exists()
    assert cli.main(["resume", str(out)]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(out) == untimed(tmp_path / "whole")


@pytest.mark.parametrize("loop", ["generation", "flow", "reference"])
def test_stopped_between_the_stages(loop, tmp_path, monkeypatch):
    """Interrupted as each stage begins: what was done is not done again, and the rest is the same."""
    from pipelines.boltzmann import learned, references

    flags = ["--system", "dw4", "--sampler", "idem"]
    out = tmp_path / "stopped"
    module = references if loop == "reference" else learned
    fit = module.fit

    def interrupted(*arguments, **options):
        if options["name"] == loop:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "fit", interrupted)
        assert run(out, *flags) == 130
    assert cli.main(["resume", str(out)]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(out) == untimed(tmp_path / "whole")
    facts = json.loads((out / "provenance.json").read_text())
    assert len(facts["reopened"]) == 1


@pytest.mark.slow
def test_a_killed_process_leaves_a_run_that_resumes(tmp_path):
    """SIGKILL gives no time to save: the last checkpoint is where it goes on."""
    flags = ["--system", "gmm40", "--idem.steps", "600", "--no-baseline"]
    out = tmp_path / "killed"
    with pytest.raises(AssertionError):
        stopped_by_a_signal(out, "training", flags, signal.SIGKILL)
    assert cli.main(["resume", str(out)]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(out) == untimed(tmp_path / "whole")

"""What holds for the whole code: sizes, opening lines, light imports, pins."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pipelines.cli import COMMANDS, PIPELINES

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for package in ("workbench", "domains", "pipelines")
    for path in (ROOT / package).rglob("*.py")
]


def test_files_and_functions_stay_readable():
    too_long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        if text.count("\n") > 400:
            too_long.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                n_lines = (node.end_lineno or 0) - node.lineno + 1
                if n_lines > 70:
                    too_long.append(f"{name}: {node.name} has {n_lines} lines")
    assert too_long == []


def test_every_file_says_what_it_does():
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("module", [*PIPELINES.values(), *COMMANDS.values()])
def test_a_pipeline_or_command_imports_nothing_heavy(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'numpy', 'numba', 'openmm', 'matplotlib', 'scipy'}\n"
        "print(', '.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_everything_that_is_required_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    required = {
        line.split(">=")[0].strip().lower().replace("_", "-") for group in groups for line in group
    }
    pins = (ROOT / "constraints.txt").read_text().split()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    assert {name for name in required if "[" not in name} <= pinned

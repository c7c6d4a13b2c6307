"""Worker processes: order, errors, interruption, and no import of the caller's main module."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.training.processes import WorkerPool, divided, run_in_processes

ROOT = Path(__file__).parents[3]
HERE = "tests.workbench.training.worker_functions"


@pytest.mark.parametrize("n_processes", [1, 2])
def test_results_come_in_order(n_processes):
    arguments = [(3, [1.0]), (2, [0.0]), (1, [5.0, 6.0])]
    results = run_in_processes(f"{HERE}:scale", arguments, n_processes)
    assert results == [[3.0], [0.0], [5.0, 6.0]]
    assert run_in_processes(f"{HERE}:scale", [], n_processes) == []


@pytest.mark.parametrize("n_processes", [0, 1, 2])
def test_divided_items_come_back_in_order(n_processes):
    items = list(range(7))
    assert divided(f"{HERE}:all_scaled", items, n_processes, 3) == [3 * item for item in items]


def test_the_work_is_done_elsewhere_on_one_thread():
    results = run_in_processes(f"{HERE}:whereabouts", [(), (), (), ()], 2)
    assert os.getpid() not in {pid for pid, _ in results}
    assert {threads for _, threads in results} == {1}
    assert run_in_processes(f"{HERE}:whereabouts", [()], 2)[0][0] == os.getpid()


def test_failures_come_back():
    with pytest.raises(InputError, match=r"^mend it$"):
        run_in_processes(f"{HERE}:fail", [("input",), ("input",)], 2)
    with pytest.raises(RuntimeError, match=r"^ValueError: bad luck$"):
        run_in_processes(f"{HERE}:fail", [("value",), ("value",)], 2)
    with pytest.raises(RuntimeError, match="ended with code 7"):
        run_in_processes(f"{HERE}:fail", [("exit",), ("exit",)], 2)
    with pytest.raises(Exception, match="pickle"):
        run_in_processes(f"{HERE}:fail", [(lambda: 0,), (lambda: 0,)], 2)


def test_a_pool_keeps_its_processes():
    with WorkerPool(f"{HERE}:whereabouts", 2) as pool:
        first, second = pool.map([()] * 4), pool.map([()] * 4)
    pids = {pid for pid, _ in [*first, *second]}
    assert len(pids) <= 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def script(body: str) -> str:
    return textwrap.dedent(body)


def test_the_callers_main_module_is_not_imported():
    code = script(f"""
        from workbench.training.processes import run_in_processes
        print("main is run")
        print(sum(run_in_processes("{HERE}:double", [(1,), (2,)], 2)))
    """)
    done = subprocess.run(
        [sys.executable, "-"], input=code, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "main is run\n6\n"  # and what workers print stays out of it
    assert "doubling" in done.stderr


def test_an_interruption_ends_the_workers(tmp_path):
    code = script(f"""
        from workbench.training.processes import run_in_processes
        run_in_processes("{HERE}:sleep", [({str(tmp_path)!r},)] * 2, 2)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # Started from a background job, the child would inherit that interruptions are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=20)[1]
    for file in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.name), 0)

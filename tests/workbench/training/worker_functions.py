"""What the workers of test_processes.py are asked to do; no torch, so that they start at once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from workbench.errors import InputError


def scale(factor, x):
    return [factor * value for value in x]


def double(x):
    print("doubling")
    return 2 * x


def whereabouts():
    return os.getpid(), int(os.environ.get("OMP_NUM_THREADS", "0"))


def fail(how):
    if how == "input":
        raise InputError("mend it")
    if how == "exit":
        sys.stdout.flush()
        os._exit(7)
    raise ValueError("bad luck")


def sleep(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def all_scaled(values, factor):
    return [factor * value for value in values]

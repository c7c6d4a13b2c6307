"""A worker process: `python -m workbench.training.worker package.module:function`.

Calls come in on standard input, answers go out on standard output; what the function prints goes to
standard error. An interruption from the terminal is left to the parent, which ends its workers.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

from workbench.errors import InputError
from workbench.training.processes import import_function, receive, send


def main(function: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    calls = sys.stdin.buffer
    while True:
        try:
            arguments = receive(calls)
        except EOFError:
            return
        try:
            answer = ("result", import_function(function)(*arguments))
        except InputError as error:
            answer = ("input error", str(error))
        except Exception as error:
            traceback.print_exc()
            answer = ("error", f"{type(error).__name__}: {error}")
        sys.stdout.flush()  # a worker may be ended before its buffers are
        send(answers, answer)


if __name__ == "__main__":
    main(sys.argv[1])

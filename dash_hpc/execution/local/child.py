"""Inside a worker process: take calls from standard input, answer on the former standard output.

One line of JSON each way, a call and its answer as :mod:`dash_hpc.execution.calls` has them. In between, ``{"begun":
pid}`` says that a run's first epoch begins. The line ``{"stop": reason, "seconds": limit of a start}``, or a signal,
asks the call under way to end soon and the process to leave after it (exit code 3); one that comes before the first
call waits for that, within the limit. When standard input ends, the parent is gone and the process ends at once, in the
middle of a run if need be: files are published whole, so nothing is damaged.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from importlib import import_module
from typing import Any

from dash_hpc.execution.calls import Answer, Call, perform
from dash_hpc.execution.machine.signals import EXIT_CODE, SIGNALS, process_flag
from dash_hpc.execution.machine.streams import make_safe

__all__ = ["main"]


def main() -> None:
    """Serve calls until standard input ends or somebody asks to stop.

    The words of the command line are modules to import before the first call.
    """
    flag = process_flag().install()
    flag.limit_start()
    make_safe()
    # Blocked by the parent until here, so that one that came before is not lost, and not deadly.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Prints of libraries belong in the log, not between the answers.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    flag.on_begun = lambda: _answer(answers, {"begun": os.getpid()})
    calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls,), daemon=True).start()
    for module in sys.argv[1:]:
        import_module(module)
    _answer(answers, {"ready": os.getpid()})
    served = False
    while not (flag.is_set() and served):
        call = calls.get()
        served = True
        _answer(answers, perform(call, flag.begun))
    os._exit(EXIT_CODE)


def _listen(calls: queue.SimpleQueue[Call]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "stop" in message:
            process_flag().set(message["stop"], message["seconds"])
        else:
            calls.put(message)
    os._exit(EXIT_CODE)


def _answer(answers: Any, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()

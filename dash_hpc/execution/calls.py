"""Calls of functions in other processes: what can be sent, and how an answer comes back. All executors are made of it.

A call is ``{"call": "module:function", "args": [...]}``, its answer ``{"value": ...}`` or ``{"error": type, "message":
one line}``; both are plain (JSON) values, whatever carries them.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, Future
from importlib import import_module
from typing import Any

from dash_hpc import errors
from dash_hpc.errors import DashHpcError, RunFailed, UsageError

__all__ = ["Answer", "Call", "CallExecutor", "call_of", "failure", "perform", "settle", "value_of"]

Call = dict[str, Any]
Answer = dict[str, Any]


class CallExecutor(Executor):
    """What the executors share. One of them says in :meth:`send` how a call gets to where it is executed."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn(*args)`` elsewhere, in the order of submission.

        Parameters
        ----------
        fn : callable
            A function that can be imported there by module and name; its arguments and result are plain (JSON) values.

        Returns
        -------
        concurrent.futures.Future
            Raises :class:`WorkerDied` when what executed the call ended without an answer, :class:`Interrupted` when it
            left on request; an exception of the function comes back as the class of that name in ``dash_hpc.errors``,
            others as :class:`RunFailed`.

        Raises
        ------
        UsageError
            When it is no such function, has keyword arguments, or the executor is closed.
        TypeError
            When an argument is no plain value.
        """
        return self.send(call_of(fn, args, kwargs))

    @abstractmethod
    def send(self, call: Call) -> Future[Any]:
        """Take a call that :func:`call_of` made; raises :class:`UsageError` when the executor is closed."""


def call_of(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Return the call, or raise as :meth:`CallExecutor.submit` says."""
    if kwargs:
        raise UsageError("a call of another process takes positional arguments only")
    if "<" in fn.__qualname__ or "." in fn.__qualname__:
        raise UsageError(f"{fn.__qualname__} is not a module-level function, so another process cannot import it")
    call = {"call": f"{fn.__module__}:{fn.__qualname__}", "args": list(args)}
    json.dumps(call)  # what cannot be sent is the caller's error
    return call


def perform(call: Call, begin: Callable[[], object] = lambda: None) -> Answer:
    """Execute a call here; ``begin`` is called when its function is loaded. No exception leaves this function."""
    try:
        module, _, name = call["call"].partition(":")
        function = getattr(import_module(module), name)
        begin()
        answer = {"value": function(*call["args"])}
        json.dumps(answer)
    except Exception as error:
        return failure(error)
    return answer


def failure(error: BaseException) -> Answer:
    """Return the answer that tells of an exception."""
    return {"error": type(error).__name__, "message": " ".join(str(error).split())}


def value_of(answer: Answer) -> Any:
    """Return the value of an answer, or raise what it tells of."""
    if "value" in answer:
        return answer["value"]
    kind = getattr(errors, answer["error"], None)
    if isinstance(kind, type) and issubclass(kind, DashHpcError):
        raise kind(answer["message"])
    raise RunFailed(f"{answer['error']}: {answer['message']}")


def settle(future: Future[Any], answer: Answer) -> None:
    """Give a future what an answer holds."""
    try:
        value = value_of(answer)
    except DashHpcError as error:
        future.set_exception(error)
    else:
        future.set_result(value)

"""Independent calls of native operators side by side, and how the ones under way are ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from dash_hpc.errors import UsageError
from dash_hpc.ops.native import native_module

__all__ = ["Threads", "map_in_threads", "stop_token"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_of_thread = threading.local()


def stop_token() -> Any:
    """What native calls of this thread are given as ``stop``: the token of its :class:`Threads`, or None."""
    return getattr(_of_thread, "token", None)


class Threads:
    """A pool of threads for native calls. Python interrupts its main thread only; when that leaves the body of the
    ``with`` statement by an exception (Ctrl-C), the calls that the threads are at end too, with what they work on as it
    was before.

    The native operators do not hold the interpreter's lock, so that the calls really go side by side.
    """

    def __init__(self, threads: int) -> None:
        native = native_module()
        self._token = None if native is None else native.StopToken()
        self._pool = ThreadPoolExecutor(threads, initializer=self._begin)

    def _begin(self) -> None:
        _of_thread.token = self._token

    def map(self, run: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Return ``run(item)`` of each item, in their order; raises what the first of them raised."""
        return list(self._pool.map(run, items))

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._token is not None:
            self._token.set()
        self._pool.shutdown(cancel_futures=error is not None)


def map_in_threads(run: Callable[[_Item], _Result], items: Iterable[_Item], threads: int, call: str) -> list[_Result]:
    """Return ``run(item)`` of each item, ``threads`` of them at a time; ``call`` names the caller in errors."""
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise UsageError(f"{call}: threads must be 1 or more, got {threads!r}")
    items = list(items)
    if threads == 1 or len(items) < 2:
        return [run(item) for item in items]
    with Threads(min(threads, len(items))) as pool:
        return pool.map(run, items)

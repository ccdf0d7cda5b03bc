"""BLAS on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class _Inside:
    """Who is inside. The limit holds for the whole process: the first sets it, the last takes it off."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.count = 0
        self.limit: Any = None

    def enter(self) -> None:
        with self.lock:
            if not self.count:
                self.limit = _blas().limit(limits=1, user_api="blas")
            self.count += 1

    def leave(self) -> None:
        with self.lock:
            self.count -= 1
            if not self.count:
                self.limit.restore_original_limits()


_inside = _Inside()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread for BLAS: sums of several threads differ in their last bits, and masks with them.

    Any number of threads may be inside at once; none waits for another.
    """
    _inside.enter()
    try:
        yield
    finally:
        _inside.leave()

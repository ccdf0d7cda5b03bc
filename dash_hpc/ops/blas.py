"""BLAS on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


_blas_limit = Lock()  # the limit holds for the whole process


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread for BLAS: sums of several threads differ in their last bits, and masks with them."""
    with _blas_limit, _blas().limit(limits=1, user_api="blas"):
        yield

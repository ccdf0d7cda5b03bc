"""One thread for BLAS: for as long as anybody is inside, and nobody waits for another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from dash_hpc.ops.blas import one_blas_thread


def counts() -> list[int]:
    return [int(pool["num_threads"]) for pool in ThreadpoolController().select(user_api="blas").info()]


def test_it_holds_while_anybody_is_inside() -> None:
    """A thread comes and goes while another is inside: it does not wait, and takes no limit off."""
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        with one_blas_thread():
            inside = counts()

            def visit() -> list[int]:
                with one_blas_thread():
                    return counts()

            with ThreadPoolExecutor(1) as pool:
                visited = pool.submit(visit).result(timeout=30)
            still = counts()
        assert counts() == before
    assert set(inside) == set(visited) == set(still) == {1}


def test_an_error_leaves_too() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        with pytest.raises(ValueError, match="inside"), one_blas_thread(), one_blas_thread():
            raise ValueError("inside")
        assert counts() == before

"""What all executors share: the check of a call, and the way of an answer back."""

from __future__ import annotations

import json
import math
from concurrent.futures import Future
from fractions import Fraction
from typing import Any

import pytest

from dash_hpc.errors import Interrupted, RunFailed, StoreError, UsageError
from dash_hpc.execution.calls import Call, CallExecutor, call_of, failure, perform, settle, value_of


class Here(CallExecutor):
    """Sends a call as text and executes it at once."""

    def send(self, call: Call) -> Future[Any]:
        future: Future[Any] = Future()
        settle(future, json.loads(json.dumps(perform(json.loads(json.dumps(call))))))
        return future


def test_value_comes_back() -> None:
    with Here() as executor:
        assert executor.submit(math.gcd, 12, 18).result() == 6
        assert executor.submit(divmod, 7, 2).result() == [3, 1]  # as JSON has it


def test_errors_come_back_by_name() -> None:
    with Here() as executor:
        with pytest.raises(RunFailed, match=r"^ValueError: .*math"):
            executor.submit(math.sqrt, -1).result()
        with pytest.raises(RunFailed, match=r"^TypeError: .*not JSON"):
            executor.submit(frozenset).result()
    with pytest.raises(StoreError, match=r"^disk full$"):
        value_of(failure(StoreError("disk\n  full")))
    with pytest.raises(RunFailed, match=r"^annotations: x$"):  # a name of that module that is no error
        value_of({"error": "annotations", "message": "x"})
    assert failure(Interrupted("a\nb")) == {"error": "Interrupted", "message": "a b"}


def test_begin_is_told_when_the_function_is_there() -> None:
    told: list[int] = []
    assert perform({"call": "math:none", "args": []}, lambda: told.append(1))["error"] == "AttributeError"
    assert told == []
    assert perform({"call": "math:gcd", "args": [4, 6]}, lambda: told.append(1)) == {"value": 2}
    assert told == [1]


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(UsageError, match="positional"):
        call_of(math.gcd, (), {"a": 1})
    with pytest.raises(UsageError, match="not a module-level function"):
        call_of(lambda: None, (), {})
    with pytest.raises(UsageError, match=r"Fraction\.limit_denominator is not a module-level"):
        call_of(Fraction.limit_denominator, (1,), {})
    with pytest.raises(TypeError):
        call_of(math.gcd, (object(),), {})

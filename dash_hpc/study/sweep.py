"""Values that a study may give many of: a scalar, a list, or a range in text such as ``"0..4"``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import log10
from typing import Any

__all__ = [
    "MAX_RUNS",
    "compact",
    "distinct",
    "expand",
    "fold_length",
    "folded",
    "length",
    "listed",
    "many",
    "parse_range",
    "whole_folds",
]

MAX_RUNS = 1_000_000
"""More runs than this are refused before anything is expanded."""

_LONGEST_RANGE = 200
_LONG_RUN = 1000
_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:step\s+({_NUMBER})\s*)?")


@dataclass(frozen=True)
class Range:
    """A range in decimal arithmetic, both ends included, so that ``"0..1 step 0.1"`` holds 0.3 exactly as written."""

    start: Decimal
    step: Decimal
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[float]:
        return (float(self.start + k * self.step) for k in range(self.count))


def parse_range(text: str) -> range | Range | None:
    """Read ``"first..last"`` or ``"first..last step s"``; the last value belongs to the range when it is hit.

    Returns None when ``text`` is not meant as a range. Whole numbers without a step give every whole number.

    Raises
    ------
    ValueError
        When the range runs downwards, or a range of fractions has no step of more than 0.
    """
    match = _RANGE.fullmatch(text) if len(text) <= _LONGEST_RANGE else None
    if match is None:
        return None
    first, last = Decimal(match[1]), Decimal(match[2])
    whole = all("." not in part for part in match.groups() if part is not None)
    if last < first:
        raise ValueError(f'runs downwards; write "{match[2]}..{match[1]}"')
    if match[3] is None and not whole:
        raise ValueError(f'needs a step: "{match[1]}..{match[2]} step 0.1"')
    step = Decimal(match[3] or 1)
    if step <= 0:
        raise ValueError("needs a step of more than 0")
    if whole:
        return range(int(first), int(last) + 1, int(step))
    return Range(first, step, int((last - first) / step) + 1)


def length(value: Any) -> int:
    """Return how many values ``value`` stands for, without listing them; what is wrong counts as one."""
    if isinstance(value, str):
        try:
            values = parse_range(value)
        except ValueError:
            return 1
        if isinstance(values, range):  # len() of a range ends at 2**63
            return (values[-1] - values[0]) // values.step + 1
        return values.count if values is not None else 1
    if isinstance(value, (list, tuple)):
        return sum(length(item) for item in value)
    return _fold_count(value)


def many(count: int) -> str:
    """Write a count, which ranges can make longer than any line."""
    return f"{count:,}" if count < 10**30 else f"about 10^{int(count.bit_length() * log10(2))}"


def expand(value: Any) -> tuple[Any, ...]:
    """List the values that a scalar, a range or a list of these stands for, in the order written.

    Raises
    ------
    ValueError
        When there is none, or when there are more than ``MAX_RUNS``.
    """
    if (size := length(value)) > MAX_RUNS:
        raise ValueError(f"stands for {many(size)} values; a study may have at most {MAX_RUNS:,} runs")
    values = tuple(_flat(value))
    if not values:
        raise ValueError("is empty: give at least one value")
    return values


def listed(value: Any) -> tuple[Any, ...]:
    """List the values of a scalar or of a list, in which a text is no range; raises ValueError when there is none."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not values:
        raise ValueError("is empty: give at least one value")
    return values


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        values = parse_range(value)
        yield from [value] if values is None else values
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield from _each_fold(value)


def folded(value: Any) -> tuple[Any, ...]:
    """List the folds that ``{ folds = K }``, or a list of such tables, stands for; every other value is one.

    Raises ValueError when there are more than ``MAX_RUNS``.
    """
    tables = isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value)
    if (size := fold_length(value)) > MAX_RUNS:
        raise ValueError(f"stands for {many(size)} values; a study may have at most {MAX_RUNS:,} runs")
    return tuple(one for item in (value if tables else [value]) for one in _each_fold(item))


def fold_length(value: Any) -> int:
    """Return how many values :func:`folded` lists."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
        return sum(_fold_count(item) for item in value)
    return _fold_count(value)


def _fold_count(value: Any) -> int:
    """How many folds a table without ``fold`` stands for; what is wrong counts as one."""
    if isinstance(value, Mapping) and set(value) == {"folds"} and type(value["folds"]) is int:
        return max(1, value["folds"])
    return 1


def _each_fold(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping) and set(value) == {"folds"} and type(value["folds"]) is int:
        yield from ({**value, "fold": k} for k in range(max(1, value["folds"])))
    else:
        yield value


def whole_folds(values: Sequence[Any]) -> Any:
    """Write all folds of a cross-validation as the table that stands for them; other values as they are."""
    first = values[0] if values else None
    if isinstance(first, Mapping) and "fold" in first and list(values) == list(_each_fold({"folds": first["folds"]})):
        return {"folds": first["folds"]}
    return values


def compact(values: Sequence[Any]) -> list[Any]:
    """Write long arithmetic runs of a list as ranges, so that a study of many seeds stays a small file.

    ``expand`` of the result gives the list back.
    """
    if len(values) < _LONG_RUN:
        return list(values)
    exact = [Decimal(repr(value)) if type(value) in (int, float) else None for value in values]
    written: list[Any] = []
    start = 0
    while start < len(values):
        stop = _end_of_run(values, exact, start)
        first, second, last = exact[start], exact[min(start + 1, stop - 1)], exact[stop - 1]
        text = ""
        if stop - start >= _LONG_RUN and first is not None and second is not None and last is not None:
            text = f"{first:f}..{last:f}" + (f" step {second - first:f}" if second - first != 1 else "")
        run = list(values[start:stop])
        written += [text] if text and list(map(repr, _listed(text))) == list(map(repr, run)) else run
        start = stop
    return written


def _end_of_run(values: Sequence[Any], exact: Sequence[Decimal | None], start: int) -> int:
    """Where the values from ``start`` on stop to rise by one and the same step."""
    stop = start + 1
    step = None
    while stop < len(values) and type(values[stop]) is type(values[start]):
        here, before = exact[stop], exact[stop - 1]
        if here is None or before is None or here <= before or step not in (None, here - before):
            break
        step = here - before
        stop += 1
    return stop


def _listed(text: str) -> tuple[Any, ...]:
    try:
        return tuple(_flat(text))
    except ValueError:
        return ()


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``values``; raises ValueError when one stands there twice (it would be the same run twice)."""
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"names {value} twice, which would be the same run twice")
        seen.add(value)
    return values

"""The one reader of JSON in a store: leases, deaths, attempts, jobs, rows of a plan, texts inside HDF5.

Such a text may come from anybody. Its size is limited before it is read and its depth before it is parsed; the parser
takes nothing that JSON leaves to chance (a key twice, NaN, numbers that no 64 bits hold, half a surrogate pair); and
what it means has to fit a *shape*: a function that returns "" for a value that fits, else what is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dash_hpc.errors import StoreError
from dash_hpc.names import is_utf8
from dash_hpc.store.publish import note_seal
from dash_hpc.store.reading import read_bytes

__all__ = [
    "DEEPEST",
    "NOTE_BYTES",
    "Shape",
    "anything",
    "listing",
    "number",
    "parse_json",
    "read_note",
    "record",
    "text",
    "unsealed",
    "whole",
]

#: No small file beside the results is larger.
NOTE_BYTES = 1 << 20
#: No text of a store has brackets that stand deeper in each other.
DEEPEST = 32

_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
Shape = Callable[[Any], str]


def read_note(path: Path | str, shape: Shape, *, limit: int = NOTE_BYTES, sealed: bool = True) -> Any:
    """Read a small JSON file, and, if it is ``sealed`` by ``publish_note``, check its checksum.

    Raises
    ------
    StoreError
        Missing, not a regular file, too large, not JSON as above, changed, or not of this shape; one line with the
        path.
    """
    data = read_bytes(path, limit=limit)
    try:
        return unsealed(parse_json(data), shape) if sealed else parse_json(data, shape)
    except StoreError as error:
        raise StoreError(f"{path}: damaged: {error}") from error


def unsealed(value: Any, shape: Shape) -> dict[str, Any]:
    """Return an object without its checksum; raises StoreError when that or the shape does not fit."""
    if not isinstance(value, dict) or value.get("sha256") != note_seal(value):
        raise StoreError("its checksum differs or is missing")
    found = {key: item for key, item in value.items() if key != "sha256"}
    if problem := shape(found):
        raise StoreError(problem)
    return found


def parse_json(data: bytes | str, shape: Shape | None = None, *, endless: bool = False) -> Any:
    """Return the value of a JSON text.

    Parameters
    ----------
    data : bytes or str
    shape : callable, optional
        What the value has to be.
    endless : bool, default False
        Whether NaN and infinity are allowed.

    Raises
    ------
    StoreError
        One line that says what is wrong; whoever knows the file puts its name before it.
    """
    try:
        source = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise StoreError(f"not UTF-8 at byte {error.start}") from error
    _check_depth(source)
    try:
        value = json.loads(
            source,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=float if endless else _constant,
        )
    except (ValueError, RecursionError) as error:
        raise StoreError(f"not JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)) from error
    if "\\u" in source:
        _check_texts(value)
    problem = shape(value) if shape is not None else ""
    if problem:
        raise StoreError(problem)
    return value


def text(longest: int = 4096, pattern: str = "", *, name: bool = False) -> Shape:
    """Return the shape of a text of at most so many letters, without NUL, that matches ``pattern`` as a whole.

    It is UTF-8, unless it is or has the ``name`` of a file, which may be any bytes.
    """

    def shape(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or "\0" in value or not (name or is_utf8(value)):
            return f"{_short(value)} where a text of at most {longest} letters belongs"
        return f"{_short(value)} where {pattern} belongs" if pattern and not re.fullmatch(pattern, value) else ""

    return shape


def whole(low: int = -(1 << 63), high: int = (1 << 63) - 1) -> Shape:
    """Return the shape of a whole number."""

    def shape(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            return f"{_short(value)} where a whole number from {low} to {high} belongs"
        return ""

    return shape


def number(value: Any) -> str:
    """Be the shape of a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{_short(value)} where a number belongs"
    return ""


def anything(value: Any) -> str:
    """Be the shape of whatever JSON can say."""
    return ""


def listing(item: Shape, most: int = 100_000) -> Shape:
    """Return the shape of a list of such items."""

    def shape(value: Any) -> str:
        if not isinstance(value, list) or len(value) > most:
            return f"{_short(value)} where a list of at most {most} items belongs"
        return next((f"item {k}: {problem}" for k, each in enumerate(value) if (problem := item(each))), "")

    return shape


def record(
    needed: Mapping[str, Shape], allowed: Mapping[str, Shape] | None = None, others: Shape | None = None
) -> Shape:
    """Return the shape of an object that has all keys of ``needed``, may have those of ``allowed``, and others only
    where ``others`` says what they may be.
    """
    known = {**(allowed or {}), **needed}

    def shape(value: Any) -> str:
        if not isinstance(value, dict):
            return f"{_short(value)} where an object belongs"
        missing = [key for key in needed if key not in value]
        if missing:
            return f"{missing[0]} is missing"
        for key, each in value.items():
            check = known.get(key, others)
            problem = "unknown key" if check is None else check(each)
            if problem:
                return f"{_short(key)}: {problem}"
        return ""

    return shape


def _short(value: Any) -> str:
    """Return a value for a message: a few letters, whatever it is."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return ascii(value if not isinstance(value, str) else value[:40])


def _check_depth(source: str) -> None:
    # Most texts have so few brackets that nothing has to be counted.
    if source.count("[") + source.count("{") <= DEEPEST:
        return
    depth = 0
    inside = False
    skip = -1
    for match in re.finditer(r'[\[\]{}"\\]', source):
        letter, place = match[0], match.start()
        if inside:
            if place == skip:
                continue
            if letter == "\\":
                skip = place + 1
            elif letter == '"':
                inside = False
        elif letter == '"':
            inside = True
        elif letter in "[{":
            depth += 1
            if depth > DEEPEST:
                raise StoreError(f"brackets more than {DEEPEST} deep")
        elif letter in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {_short(key)} twice")
        result[key] = value
    return result


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        raise ValueError(f"the number {digits[:24]}… does not fit 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:24]} does not fit 64 bits")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} where a number belongs")


def _check_texts(value: Any) -> None:
    """Refuse half a surrogate pair, unless it stands for a byte of a name that is not UTF-8."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str) and _HALF.search(item):
            raise StoreError(f"the text {_short(item)} has half a letter in it")

"""Ways to change bytes, texts and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["change_bytes", "change_json", "change_text", "hostile_value"]

_WORDS = (
    b"", b"\0", b"\xff\xfe", b"\n", b"\r\n", b"\"", b"'", b"{", b"[", b"]", b"}", b",", b":", b"-", b"1e999", b"NaN",
    b"-Infinity", b"null", b"true", b"9" * 400, b"1" + b"0" * 30, b"\\u0000", b"\\ud800", b"\x1b[2J", b"[/x]", b"$x^{$",
    "λ\u202e\u2028".encode(), b"a" * 5000, b"[" * 3000, b'{"a":' * 2000, b"../../etc/passwd", b"/dev/zero",
)  # fmt: skip


def change_bytes(data: bytes, rng: Random, times: int | None = None) -> tuple[str, bytes]:
    """Flip, cut, insert, splice, repeat or overwrite, one to a few times."""
    labels = []
    for _ in range(times or rng.choice((1, 1, 1, 2, 4))):
        change = rng.choice(_BYTE_CHANGES)
        data = change(data, rng)
        labels.append(change.__name__.strip("_"))
    return "+".join(labels), data


def _flip(data: bytes, rng: Random) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 8, 64, 512)) :]


def _insert(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((rng.choice(_WORDS), rng.randbytes(rng.choice((1, 8, 64))))) + data[at:]


def _overwrite(data: bytes, rng: Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    word = rng.choice(
        (b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x80", rng.randbytes(rng.choice((1, 2, 4, 8))))
    )
    return data[:at] + word + data[at + len(word) :]


def _splice(data: bytes, rng: Random) -> bytes:
    a, b, at = (rng.randrange(len(data) + 1) for _ in range(3))
    return data[:at] + data[min(a, b) : min(max(a, b), min(a, b) + 4096)] + data[at:]


_BYTE_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip,
    _flip,
    _cut,
    _remove,
    _insert,
    _overwrite,
    _splice,
)


def change_text(data: bytes, rng: Random) -> tuple[str, bytes]:
    """Change a word, a number or a line of a text; or its bytes."""
    how = rng.randrange(6)
    lines = data.split(b"\n")
    if how == 0:
        numbers = list(re.finditer(rb"-?\d+(\.\d+)?(e-?\d+)?", data))
        if numbers:
            found = rng.choice(numbers)
            new = rng.choice(
                (b"0", b"-1", b"1e999", b"NaN", b"9" * 400, str(1 << 63).encode(), b"1e-400", b"0x10", b"1_0")
            )
            return "number", data[: found.start()] + new + data[found.end() :]
    if how == 1:
        k = rng.randrange(len(lines))
        return "line twice", b"\n".join([*lines[: k + 1], *lines[k:]])
    if how == 2:
        k = rng.randrange(len(lines))
        return "line gone", b"\n".join(lines[:k] + lines[k + 1 :])
    if how == 3:
        rng.shuffle(lines)
        return "lines in another order", b"\n".join(lines)
    if how == 4:
        words = list(re.finditer(rb"\w+", data))
        if words:
            found = rng.choice(words)
            return "word", data[: found.start()] + rng.choice(_WORDS) + data[found.end() :]
    return change_bytes(data, rng)


def hostile_value(rng: Random) -> Any:
    """Return some value that JSON can say."""
    deep: Any = 0
    for _ in range(rng.choice((3, 40, 400))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return rng.choice(
        (
            None, True, False, 0, -1, 1, 7, 1 << 31, 1 << 63, -(1 << 63), 10**30, 0.5, -0.0, 1e308, float("nan"),
            float("inf"), "", "x", "\0", "\x1b[31m", "[/x]", "$\\frac$", "λ" * 50, "a" * 100_000, "../..", [], {},
            [[]], [1, "a", None], {"a": 1}, {"": {}}, list(range(1000)), {str(k): k for k in range(1000)}, deep,
        )
    )  # fmt: skip


def change_json(value: Any, rng: Random) -> Any:
    """Return ``value`` with one place of it changed: another type, gone, renamed, doubled, nested."""
    value = json.loads(json.dumps(value))
    places: list[tuple[Any, Any]] = []
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            places += [(item, key) for key in item]
            left += item.values()
        elif isinstance(item, list):
            places += [(item, k) for k in range(len(item))]
            left += item
    if not places or rng.random() < 0.03:
        return hostile_value(rng)
    holder, key = rng.choice(places)
    how = rng.randrange(6)
    if how <= 2:
        holder[key] = hostile_value(rng)
    elif how == 3:
        del holder[key]
    elif how == 4 and isinstance(holder, dict):
        holder[str(hostile_value(rng))[:200]] = holder.pop(key)
    elif how == 4:
        holder.insert(rng.randrange(len(holder) + 1), holder[key])
    else:
        other_holder, other = rng.choice(places)
        if isinstance(other_holder, dict) and other not in other_holder:
            return value
        holder[key], other_holder[other] = (
            json.loads(json.dumps(other_holder[other])),
            json.loads(json.dumps(holder[key])),
        )
    return value

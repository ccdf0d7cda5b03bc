"""The parts of an object's header that describe values: names, texts, shapes, filters."""

from __future__ import annotations

import math
import struct

from dash_hpc.store.hdf5.datatypes import Damaged

__all__ = ["DEFLATE", "decode_filters", "decode_name", "decode_space", "decode_utf8", "need"]

DEFLATE, _SHUFFLE = 1, 2
_MOST_RANK = 8
_LONGEST_NAME = 255


def need(data: memoryview, size: int) -> None:
    """Raise Damaged where a message is shorter than ``size`` bytes."""
    if len(data) < size:
        raise Damaged("a message is cut short")


def decode_utf8(data: bytes) -> str:
    """Return a text; raises Damaged when it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("a text that is not UTF-8") from None


def decode_name(names: memoryview, offset: int) -> str:
    """Return the name of a member or attribute that begins at ``offset`` of a heap and ends with a zero."""
    if offset >= len(names):
        raise Damaged("a name outside of its heap")
    start = bytes(names[offset : offset + _LONGEST_NAME + 1])
    text, end, _ = start.partition(b"\0")
    name = decode_utf8(text)
    if not end or not name or "/" in name or name in (".", ".."):
        raise Damaged(f"the name {name[:40]!r}")
    return name


def decode_space(body: memoryview) -> tuple[int, ...]:
    """Return the shape that a data space means; raises Damaged for one that may grow or that no array can have."""
    need(body, 4)
    version, rank, flags, kind = body[0], body[1], body[2], body[3]
    start = {1: 8, 2: 4}.get(version, 0)
    if not start or rank > _MOST_RANK or flags & ~1 or (version == 2 and kind != (1 if rank else 0)):
        raise Damaged(f"a data space of version {version} and rank {rank}")
    need(body, start + 8 * rank * (2 if flags & 1 else 1))
    shape = struct.unpack_from(f"<{rank}Q", body, start)
    if flags & 1 and struct.unpack_from(f"<{rank}Q", body, start + 8 * rank) != shape:
        raise Damaged("a data space that may grow")
    # Nothing is calculated with sizes that no array can have.
    if math.prod(max(length, 1) for length in shape) >= 1 << 48:
        raise Damaged(f"a data space of shape {shape}")
    return shape


def decode_filters(body: memoryview) -> tuple[int, ...]:
    """Return the filters that chunks went through when written: at most shuffle, then deflate."""
    need(body, 8)
    version, count = body[0], body[1]
    if version != 1 or count > 2:
        raise Damaged(f"{count} filters, version {version}")
    position = 8
    found = []
    for _ in range(count):
        need(body, position + 8)
        number, name, _, values = struct.unpack_from("<4H", body, position)
        position += 8 + -(-name // 8) * 8 + 4 * (values + values % 2)
        if number not in (DEFLATE, _SHUFFLE):
            raise Damaged(f"the filter {number}")
        found.append(number)
    if len(set(found)) != count or found not in ([], [DEFLATE], [_SHUFFLE], [_SHUFFLE, DEFLATE]):
        raise Damaged(f"the filters {found}")
    return tuple(found)

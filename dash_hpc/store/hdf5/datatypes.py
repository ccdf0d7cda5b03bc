"""The kinds of values that the files of a store have: whole numbers, IEEE numbers, bool, texts of fixed length; and, in
attributes, texts of variable length.
"""

from __future__ import annotations

import struct

import numpy as np

from dash_hpc.errors import StoreError

__all__ = ["Damaged", "Text", "decode_type"]

_WHOLE, _FLOAT, _STRING, _ENUM, _VARIABLE = 0, 1, 3, 8, 9
# Size in bytes -> bit offset, precision, place and size of exponent and mantissa, bias.
_IEEE = {4: (0, 32, 23, 8, 0, 23, 127), 8: (0, 64, 52, 11, 0, 52, 1023)}
# Longer ones than any text of a store.
_LONGEST_TEXT = 1 << 26


class Damaged(StoreError):
    """What the bytes of a file say cannot be, or is never written by this program."""


class Text:
    """A text of variable length: in the file ``WIDTH`` bytes that say where it stands."""

    WIDTH = 16


def decode_type(body: memoryview) -> np.dtype | Text:
    """Return the type that a datatype message means; raises Damaged for one that no file of a store has."""
    if len(body) < 8:
        raise Damaged("a type is cut short")
    kind, version = body[0] & 15, body[0] >> 4
    bits = int.from_bytes(body[1:4], "little")
    (size,) = struct.unpack_from("<I", body, 4)
    rest = body[8:]
    order = ">" if bits & 1 else "<"
    if version not in (1, 2, 3):
        pass
    elif kind == _WHOLE and size in (1, 2, 4, 8) and not bits & ~9 and len(rest) >= 4:
        if struct.unpack_from("<HH", rest) == (0, 8 * size):
            return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
    elif kind == _FLOAT and size in _IEEE and len(rest) >= 12:
        if struct.unpack_from("<HHBBBBI", rest) == _IEEE[size] and bits & ~1 == (8 * size - 1) << 8 | 0x20:
            return np.dtype(f"{order}f{size}")
    elif kind == _STRING and 1 <= size <= _LONGEST_TEXT and bits & 15 <= 1 and bits >> 4 <= 1:
        return np.dtype(f"S{size}")
    elif kind == _ENUM and size == 1 and bits == 2:
        names = (b"FALSE\0\0\0TRUE\0\0\0\0" if version < 3 else b"FALSE\0TRUE\0") + b"\0\1"
        base = rest[:12]
        if decode_type(base) == np.dtype("i1") and bytes(rest[12 : 12 + len(names)]) == names:
            return np.dtype(bool)
    elif kind == _VARIABLE and size == Text.WIDTH and bits & 15 == 1:
        return Text()
    raise Damaged(f"a type of class {kind}, version {version} and {size} bytes")

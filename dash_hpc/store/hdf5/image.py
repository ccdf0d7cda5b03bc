"""Taking the bytes of a file apart: headers, links, B-trees and heaps, each within its bounds and none twice."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5.datatypes import Damaged, Text, decode_type
from dash_hpc.store.hdf5.messages import decode_filters, decode_name, decode_space, decode_utf8, need
from dash_hpc.store.hdf5.objects import Dataset, Group, Value

__all__ = ["open_image"]

_MAGIC = b"\x89HDF\r\n\x1a\n"
_NOWHERE = (1 << 64) - 1
# Far above what any file of a store has.
_MOST_OBJECTS = 10_000
_MOST_NODES = 500_000
_DEEPEST = 8
_MOST_CHUNK_BYTES = 1 << 24

# Messages of an object header.
_NIL, _SPACE, _TYPE, _OLD_FILL, _FILL, _LAYOUT = 0x00, 0x01, 0x03, 0x04, 0x05, 0x08
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS, _TIME = 0x0B, 0x0C, 0x10, 0x11, 0x12
_KNOWN = {_NIL, _SPACE, _TYPE, _OLD_FILL, _FILL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS, _TIME}
_ONCE = (_SPACE, _TYPE, _LAYOUT, _FILTERS, _SYMBOLS)


def open_image(data: bytes | memoryview) -> Group:
    """Take the bytes of an HDF5 file apart and return its root group; no values are read yet.

    Raises
    ------
    StoreError
        When it is damaged, or holds anything that a file of a store never does.
    """
    try:
        return _Image(memoryview(data)).root()
    except Damaged as error:
        raise StoreError(f"HDF5 content that no file of dash-hpc has ({error})") from error


class _Image:
    """The bytes of a file, and what of it was visited."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._visited: set[int] = set()
        self._nodes = 0
        self._objects = 0
        self._stored = 0

    def at(self, address: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``address``."""
        if size < 0 or address < 0 or address + size > len(self.data):
            raise Damaged(f"{size} bytes at {address} lie outside of the file")
        return self.data[address : address + size]

    def visit(self, address: int, size: int) -> memoryview:
        """Like :meth:`at`, for what describes something: no such place is visited twice."""
        self._nodes += 1
        if address in self._visited or self._nodes > _MOST_NODES:
            raise Damaged(f"it leads to {address} again" if address in self._visited else "it has no end")
        self._visited.add(address)
        return self.at(address, size)

    def occupy(self, size: int) -> None:
        """Count bytes that hold values: all together they cannot be more than the file has."""
        self._stored += size
        if self._stored > len(self.data):
            raise Damaged("its datasets claim more bytes than it has")

    def root(self) -> Group:
        start = self.at(0, 96)
        if start[:8] != _MAGIC or bytes(start[8:16]) != b"\0\0\0\0\0\x08\x08\0":
            raise Damaged("superblock of another version")
        base, _, _, driver = struct.unpack_from("<4Q", start, 24)
        if base != 0 or driver != _NOWHERE:
            raise Damaged("a base address or a driver")
        found = self._object("/", struct.unpack_from("<Q", start, 64)[0], 0)
        if not isinstance(found, Group):
            raise Damaged("its root is no group")
        return found

    def _object(self, name: str, address: int, depth: int) -> Group | Dataset:
        self._objects += 1
        if self._objects > _MOST_OBJECTS or depth > _DEEPEST:
            raise Damaged("too many objects" if depth <= _DEEPEST else "groups too deep")
        messages: dict[int, memoryview] = {}
        attrs: dict[str, Value] = {}
        for kind, body in self._messages(address):
            if kind == _ATTRIBUTE:
                key, value = self._attribute(body)
                if key in attrs:
                    raise Damaged(f"attribute {key!r} twice")
                attrs[key] = value
            elif kind in _ONCE:
                if kind in messages:
                    raise Damaged(f"message {kind} twice")
                messages[kind] = body
        if _SYMBOLS in messages:
            if len(messages) > 1:
                raise Damaged("a group with values")
            members = {
                key: self._object(f"{name.rstrip('/')}/{key}", target, depth + 1)
                for key, target in self._links(messages[_SYMBOLS])
            }
            return Group(name, attrs, members)
        return self._dataset(name, messages, attrs)

    def _messages(self, address: int) -> Iterator[tuple[int, memoryview]]:
        start = self.visit(address, 16)
        version, _, count, references, size = struct.unpack_from("<BBHII", start)
        if version != 1 or references != 1:
            raise Damaged(f"object header of version {version} with {references} references")
        blocks = [(address + 16, size)]
        while blocks:
            place, size = blocks.pop(0)
            block = self.at(place, size)
            position = 0
            while position + 8 <= size and count > 0:
                kind, length, flags = struct.unpack_from("<HHB", block, position)
                body = block[position + 8 : position + 8 + length]
                if kind not in _KNOWN or flags & ~5 or len(body) != length:
                    raise Damaged(f"message {kind:#x} with flags {flags:#x} and {len(body)} of {length} bytes")
                position += 8 + length
                count -= 1
                if kind == _CONTINUATION:
                    need(body, 16)
                    place, more = struct.unpack_from("<QQ", body)
                    self.visit(place, more)
                    blocks.append((place, more))
                elif kind != _NIL:
                    yield kind, body

    def _links(self, body: memoryview) -> Iterator[tuple[str, int]]:
        need(body, 16)
        tree, heap = struct.unpack_from("<QQ", body)
        head = self.visit(heap, 32)
        if bytes(head[:5]) != b"HEAP\0":
            raise Damaged("no local heap")
        size, _, place = struct.unpack_from("<QQQ", head, 8)
        names = self.at(place, size)
        seen: set[str] = set()
        for _, node in self._leaves(tree, 0, 8):
            entries = self.visit(node, 8)
            version, _, count = struct.unpack_from("<BBH", entries, 4)
            if bytes(entries[:4]) != b"SNOD" or version != 1:
                raise Damaged("no node of symbols")
            table = self.at(node + 8, 40 * count)
            for k in range(count):
                offset, target, cached = struct.unpack_from("<QQI", table, 40 * k)
                if cached > 1:
                    raise Damaged("a symbolic link")
                name = decode_name(names, offset)
                if name in seen:
                    raise Damaged(f"the name {name!r} twice")
                seen.add(name)
                yield name, target

    def _leaves(self, address: int, kind: int, key: int, level: int | None = None) -> Iterator[tuple[memoryview, int]]:
        """Yield key and child of every leaf of a B-tree; ``key`` is the length of its keys."""
        head = self.visit(address, 24)
        found, own, used = struct.unpack_from("<BBH", head, 4)
        if bytes(head[:4]) != b"TREE" or found != kind or own > _DEEPEST or (level is not None and own != level):
            raise Damaged("no node of the B-tree that belongs here")
        rows = self.at(address + 24, used * (key + 8))
        for k in range(used):
            place = k * (key + 8)
            (child,) = struct.unpack_from("<Q", rows, place + key)
            if own:
                yield from self._leaves(child, kind, key, own - 1)
            else:
                yield rows[place : place + key], child

    def _dataset(self, name: str, messages: dict[int, memoryview], attrs: dict[str, Value]) -> Dataset:
        if not {_SPACE, _TYPE, _LAYOUT} <= messages.keys():
            raise Damaged(f"{name} is neither group nor dataset")
        dtype = decode_type(messages[_TYPE])
        if isinstance(dtype, Text):
            raise Damaged(f"{name} has values of variable length")
        shape = decode_space(messages[_SPACE])
        filters = decode_filters(messages[_FILTERS]) if _FILTERS in messages else ()
        layout = messages[_LAYOUT]
        need(layout, 2)
        version, kind = layout[0], layout[1]
        size = math.prod(shape) * dtype.itemsize
        if version != 3 or (filters and kind != 2):
            raise Damaged(f"{name} has a layout of version {version}")
        if kind == 2:
            return self._chunked(name, dtype, shape, attrs, layout, filters)
        if kind == 0:
            need(layout, 4)
            stored = layout[4 : 4 + struct.unpack_from("<H", layout, 2)[0]]
        elif kind == 1:
            need(layout, 18)
            address, length = struct.unpack_from("<QQ", layout, 2)
            stored = self.at(address, length) if size else layout[:0]
        else:
            raise Damaged(f"{name} is not stored in the file itself")
        if len(stored) != size:
            raise Damaged(f"{name} claims {size} bytes where {len(stored)} are stored")
        self.occupy(size)
        return Dataset(name, dtype, shape, attrs, size, self.data, stored)

    def _chunked(
        self,
        name: str,
        dtype: np.dtype,
        shape: tuple[int, ...],
        attrs: dict[str, Value],
        layout: memoryview,
        filters: tuple[int, ...],
    ) -> Dataset:
        rank = len(shape)
        need(layout, 11 + 4 * (rank + 1))
        dimensions, tree = struct.unpack_from("<BQ", layout, 2)
        *chunk, width = struct.unpack_from(f"<{rank + 1}I", layout, 11)
        whole = math.prod(chunk) * dtype.itemsize
        if dimensions != rank + 1 or width != dtype.itemsize or not rank or not 0 < whole <= _MOST_CHUNK_BYTES:
            raise Damaged(f"{name} has chunks of {whole} bytes")
        counts = [-(-length // part) for length, part in zip(shape, chunk, strict=True)]
        wanted = math.prod(counts)
        # As many chunks as the shape needs must be there: each takes a place of the index.
        if wanted * 8 > len(self.data):
            raise Damaged(f"{name} claims {math.prod(shape) * dtype.itemsize} bytes, more than its file can hold")
        places: dict[tuple[int, ...], tuple[int, int]] = {}
        storage = 0
        for key, address in self._leaves(tree, 1, 8 + 8 * (rank + 1)) if wanted else ():
            size, masked, *offsets, last = struct.unpack_from(f"<II{rank + 1}Q", key)
            where = tuple(offsets)
            steps = zip(where, chunk, shape, strict=True)
            if masked or last or where in places or any(o % part or o >= length for o, part, length in steps):
                raise Damaged(f"{name} has a chunk out of place")
            self.at(address, size)
            self.occupy(size)
            storage += size
            places[where] = (address, size)
        if len(places) != wanted:
            raise Damaged(f"{name} has {len(places)} of {wanted} chunks")
        stored = [(where, address, size) for where, (address, size) in places.items()]
        return Dataset(name, dtype, shape, attrs, storage, self.data, stored, tuple(chunk), filters)

    def _attribute(self, body: memoryview) -> tuple[str, Value]:
        need(body, 8)
        version, flags, name_size, type_size, space_size = struct.unpack_from("<BBHHH", body)
        if version not in (1, 3) or (version == 3 and flags):
            raise Damaged(f"attribute of version {version}")
        # Version 1 pads each part to a multiple of 8, version 3 tells the alphabet of the name before it.
        step, position = (8, 8) if version == 1 else (1, 9)
        parts = []
        for size in (name_size, type_size, space_size):
            parts.append(body[position : position + size])
            position += -(-size // step) * step
        need(body, position)
        name = decode_name(parts[0], 0)
        kind, shape = decode_type(parts[1]), decode_space(parts[2])
        count = math.prod(shape)
        width = Text.WIDTH if isinstance(kind, Text) else kind.itemsize
        if count * width > len(body) - position:
            raise Damaged(f"attribute {name} claims {count * width} bytes")
        data = body[position : position + count * width]
        if isinstance(kind, Text):
            if shape:
                raise Damaged(f"attribute {name} is a list of texts of variable length")
            return name, self._heap_text(data)
        if kind.kind == "b" and any(byte > 1 for byte in data):
            raise Damaged(f"attribute {name} is neither true nor false")
        values = np.frombuffer(data, dtype=kind).reshape(shape)
        return name, values.copy() if shape else values.item()

    def _heap_text(self, data: memoryview) -> str:
        """Return a text of the global heap."""
        length, address, wanted = struct.unpack("<IQI", data)
        if length == 0:
            return ""
        head = self.at(address, 16)
        (size,) = struct.unpack_from("<Q", head, 8)
        if bytes(head[:5]) != b"GCOL\1" or size < 16:
            raise Damaged("no global heap")
        heap = self.at(address, size)
        position = 16
        while position + 16 <= size:
            self._nodes += 1
            index, _, _, held = struct.unpack_from("<HHIQ", heap, position)
            if index == 0 or self._nodes > _MOST_NODES:
                break
            if index == wanted:
                if held != length or position + 16 + held > size:
                    break
                return decode_utf8(bytes(heap[position + 16 : position + 16 + held]).rstrip(b"\0"))
            position += 16 + -(-held // 8) * 8
        raise Damaged("a text that its heap does not hold")

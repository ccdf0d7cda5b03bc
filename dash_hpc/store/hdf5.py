"""A reader for the part of HDF5 that this program writes, and for nothing else.

A file of a store may come from anybody, and its checksum only says that nobody changed it on the way. The HDF5 library
trusts what it opens: links and layouts may lead out of the file or round in a circle, a filter may unfold to any size,
a damaged length is memory written past its end. So no file is opened with it. This module takes the bytes apart within
their bounds, knows one kind of group, two filters and five kinds of values, visits no place twice, and refuses
everything else: soft and external links, external and virtual storage, references, compound and nested types.

What it reads is HDF5's oldest format (superblock 0, object headers 1, symbol tables, B-trees 1), which ``pack`` asks
for. The words of the format's specification are used: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5_types import Damaged, Text, decode_type

__all__ = ["Dataset", "Group", "Value", "open_image"]

T = TypeVar("T")
Value = int | float | bool | str | bytes | np.ndarray

_MAGIC = b"\x89HDF\r\n\x1a\n"
_NOWHERE = (1 << 64) - 1
# Far above what any file of a store has.
_MOST_OBJECTS = 10_000
_MOST_NODES = 500_000
_DEEPEST = 8
_MOST_RANK = 8
_LONGEST_NAME = 255
_MOST_CHUNK_BYTES = 1 << 24
# What a text takes in memory besides its letters, and what JSON takes for each letter of its text.
_OBJECT_BYTES = 64
_PARSED_BYTES = 32

# Messages of an object header.
_NIL, _SPACE, _TYPE, _OLD_FILL, _FILL, _LAYOUT = 0x00, 0x01, 0x03, 0x04, 0x05, 0x08
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS, _TIME = 0x0B, 0x0C, 0x10, 0x11, 0x12
_KNOWN = {_NIL, _SPACE, _TYPE, _OLD_FILL, _FILL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS, _TIME}
_ONCE = (_SPACE, _TYPE, _LAYOUT, _FILTERS, _SYMBOLS)
_DEFLATE, _SHUFFLE = 1, 2


@dataclass
class Group:
    """A group: its path, attributes, and members by name."""

    name: str
    attrs: dict[str, Value] = field(default_factory=dict)
    members: dict[str, Group | Dataset] = field(default_factory=dict)

    def group(self, name: str) -> Group:
        """Return a member that has to be a group; raises StoreError."""
        found = self.members.get(name)
        if not isinstance(found, Group):
            raise StoreError(f"group {self.below(name)} is missing")
        return found

    def dataset(self, name: str) -> Dataset:
        """Return a member, by its path, that has to be a dataset; raises StoreError."""
        *path, last = name.split("/")
        group = self
        for part in path:
            group = group.group(part)
        found = group.members.get(last)
        if not isinstance(found, Dataset):
            raise StoreError(f"dataset {self.below(name)} is missing")
        return found

    def below(self, name: str) -> str:
        """Return the path of a member."""
        return f"{self.name.rstrip('/')}/{name}"

    def datasets(self) -> Iterator[Dataset]:
        """Yield all datasets at and below this group."""
        for member in self.members.values():
            if isinstance(member, Group):
                yield from member.datasets()
            else:
                yield member

    def attribute(self, name: str, kind: type[T]) -> T:
        """Return an attribute that has to be of ``kind``; raises StoreError."""
        value = self.attrs.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise StoreError(f"attribute {name} of {self.name} is missing, or no {kind.__name__}")
        return value


@dataclass
class Dataset:
    """A dataset whose values have not been read.

    ``nbytes`` is what it unfolds to, ``storage`` what of the file it occupies: both are known to fit the file.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    attrs: dict[str, Value]
    storage: int
    _image: _Image
    _place: memoryview | list[tuple[tuple[int, ...], int, int]]
    _chunk: tuple[int, ...] = ()
    _filters: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values in memory."""
        return self.size * self.dtype.itemsize

    def fact(self, name: str) -> int | float | str | bytes | None:
        """Return an attribute that is one value; None without it."""
        value = self.attrs.get(name)
        return None if isinstance(value, np.ndarray) else value

    @property
    def holds_json(self) -> bool:
        """Whether its texts are marked as JSON."""
        return self.fact("kind") == b"json"

    @property
    def weight(self) -> int:
        """About the bytes that its values take as Python sees them; parsed JSON may be many times its text."""
        if self.dtype.kind != "S" or not self.shape:
            return self.nbytes
        return self.size * _OBJECT_BYTES + self.nbytes * (_PARSED_BYTES if self.holds_json else 1)

    def read(self) -> np.ndarray:
        """Return the values; raises StoreError when a chunk does not unfold to what belongs there."""
        if isinstance(self._place, memoryview):
            return self._checked(np.frombuffer(self._place, dtype=self.dtype).reshape(self.shape).copy())
        result = np.empty(self.shape, dtype=self.dtype)
        for offsets, address, size in self._place:
            chunk = self._unfold(self._image.at(address, size))
            inside = tuple(slice(begin, begin + length) for begin, length in zip(offsets, self._chunk, strict=True))
            target = result[inside]
            target[...] = chunk[tuple(slice(0, length) for length in target.shape)]
        return self._checked(result)

    def _checked(self, values: np.ndarray) -> np.ndarray:
        if self.dtype.kind == "b" and values.size and values.view(np.uint8).max() > 1:
            raise StoreError(f"dataset {self.name} has values that are neither true nor false")
        return values

    def _unfold(self, data: memoryview) -> np.ndarray:
        count = math.prod(self._chunk)
        whole = count * self.dtype.itemsize
        plain = bytes(data)
        for number in reversed(self._filters):
            if number == _DEFLATE:
                # One byte more than belongs there is enough to see that there is more.
                unpack = zlib.decompressobj()
                try:
                    plain = unpack.decompress(plain, whole + 1)
                except zlib.error as error:
                    raise StoreError(f"dataset {self.name} cannot be decompressed ({error})") from error
            elif len(plain) == whole:
                plain = np.frombuffer(plain, np.uint8).reshape(self.dtype.itemsize, count).T.tobytes()
        if len(plain) != whole:
            raise StoreError(f"dataset {self.name} has a chunk that does not unfold to {whole} bytes")
        return np.frombuffer(plain, dtype=self.dtype).reshape(self._chunk)


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
                    _need(body, 16)
                    place, more = struct.unpack_from("<QQ", body)
                    self.visit(place, more)
                    blocks.append((place, more))
                elif kind != _NIL:
                    yield kind, body

    def _links(self, body: memoryview) -> Iterator[tuple[str, int]]:
        _need(body, 16)
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
                name = _name(names, offset)
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
        shape = _space(messages[_SPACE])
        filters = _filters(messages[_FILTERS]) if _FILTERS in messages else ()
        layout = messages[_LAYOUT]
        _need(layout, 2)
        version, kind = layout[0], layout[1]
        size = math.prod(shape) * dtype.itemsize
        if version != 3 or (filters and kind != 2):
            raise Damaged(f"{name} has a layout of version {version}")
        if kind == 2:
            return self._chunked(name, dtype, shape, attrs, layout, filters)
        if kind == 0:
            _need(layout, 4)
            stored = layout[4 : 4 + struct.unpack_from("<H", layout, 2)[0]]
        elif kind == 1:
            _need(layout, 18)
            address, length = struct.unpack_from("<QQ", layout, 2)
            stored = self.at(address, length) if size else layout[:0]
        else:
            raise Damaged(f"{name} is not stored in the file itself")
        if len(stored) != size:
            raise Damaged(f"{name} claims {size} bytes where {len(stored)} are stored")
        self.occupy(size)
        return Dataset(name, dtype, shape, attrs, size, self, stored)

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
        _need(layout, 11 + 4 * (rank + 1))
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
        return Dataset(name, dtype, shape, attrs, storage, self, stored, tuple(chunk), filters)

    def _attribute(self, body: memoryview) -> tuple[str, Value]:
        _need(body, 8)
        version, flags, name_size, type_size, space_size = struct.unpack_from("<BBHHH", body)
        if version not in (1, 3) or (version == 3 and flags):
            raise Damaged(f"attribute of version {version}")
        # Version 1 pads each part to a multiple of 8, version 3 tells the alphabet of the name before it.
        step, position = (8, 8) if version == 1 else (1, 9)
        parts = []
        for size in (name_size, type_size, space_size):
            parts.append(body[position : position + size])
            position += -(-size // step) * step
        _need(body, position)
        name = _name(parts[0], 0)
        kind, shape = decode_type(parts[1]), _space(parts[2])
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
                return _utf8(bytes(heap[position + 16 : position + 16 + held]).rstrip(b"\0"))
            position += 16 + -(-held // 8) * 8
        raise Damaged("a text that its heap does not hold")


def _need(data: memoryview, size: int) -> None:
    if len(data) < size:
        raise Damaged("a message is cut short")


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("a text that is not UTF-8") from None


def _name(names: memoryview, offset: int) -> str:
    if offset >= len(names):
        raise Damaged("a name outside of its heap")
    start = bytes(names[offset : offset + _LONGEST_NAME + 1])
    text, end, _ = start.partition(b"\0")
    name = _utf8(text)
    if not end or not name or "/" in name or name in (".", ".."):
        raise Damaged(f"the name {name[:40]!r}")
    return name


def _space(body: memoryview) -> tuple[int, ...]:
    _need(body, 4)
    version, rank, flags, kind = body[0], body[1], body[2], body[3]
    start = {1: 8, 2: 4}.get(version, 0)
    if not start or rank > _MOST_RANK or flags & ~1 or (version == 2 and kind != (1 if rank else 0)):
        raise Damaged(f"a data space of version {version} and rank {rank}")
    _need(body, start + 8 * rank * (2 if flags & 1 else 1))
    shape = struct.unpack_from(f"<{rank}Q", body, start)
    if flags & 1 and struct.unpack_from(f"<{rank}Q", body, start + 8 * rank) != shape:
        raise Damaged("a data space that may grow")
    # Nothing is calculated with sizes that no array can have.
    if math.prod(max(length, 1) for length in shape) >= 1 << 48:
        raise Damaged(f"a data space of shape {shape}")
    return shape


def _filters(body: memoryview) -> tuple[int, ...]:
    _need(body, 8)
    version, count = body[0], body[1]
    if version != 1 or count > 2:
        raise Damaged(f"{count} filters, version {version}")
    position = 8
    found = []
    for _ in range(count):
        _need(body, position + 8)
        number, name, _, values = struct.unpack_from("<4H", body, position)
        position += 8 + -(-name // 8) * 8 + 4 * (values + values % 2)
        if number not in (_DEFLATE, _SHUFFLE):
            raise Damaged(f"the filter {number}")
        found.append(number)
    if len(set(found)) != count or found not in ([], [_DEFLATE], [_SHUFFLE], [_SHUFFLE, _DEFLATE]):
        raise Damaged(f"the filters {found}")
    return tuple(found)

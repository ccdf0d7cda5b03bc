"""What a file holds: groups and datasets, whose values are unfolded when they are read."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5.messages import DEFLATE

__all__ = ["Dataset", "Group", "Value"]

T = TypeVar("T")
Value = int | float | bool | str | bytes | np.ndarray

# What a text takes in memory besides its letters, and what JSON takes for each letter of its text.
_OBJECT_BYTES = 64
_PARSED_BYTES = 32


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

    ``nbytes`` is what it unfolds to, ``storage`` what of the file it occupies: both are known to fit the file, and so
    are the places of its chunks (first index, address, bytes).
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    attrs: dict[str, Value]
    storage: int
    _data: memoryview
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
            chunk = self._unfold(self._data[address : address + size])
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
            if number == DEFLATE:
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

"""The store's own reader of HDF5, against h5py: it reads what was written, bit for bit, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dash_hpc.errors import StoreError
from dash_hpc.store import schema
from dash_hpc.store.envelope import HEADER_BYTES, to_bytes
from dash_hpc.store.hdf5 import Dataset, Group, open_image

KINDS = ("i1", "i2", "i4", "i8", "u1", "u4", "u8", "<f4", "<f8", ">f4", ">f8", ">i8", "bool", "S1", "S13")


def image(fill: Callable[[h5py.File], None]) -> bytes:
    return to_bytes("dash-hpc run", 1, fill)[HEADER_BYTES:]


def same(ours: Group, theirs: h5py.Group) -> None:
    assert ours.members.keys() == set(theirs)
    _same_attributes(ours, theirs)
    for name, member in ours.members.items():
        if isinstance(member, Group):
            same(member, theirs[name])
            continue
        _same_attributes(member, theirs[name])
        values, expected = member.read(), np.asarray(theirs[name][()])
        # h5py turns the bytes of a single value round.
        assert values.dtype == (expected.dtype if expected.shape else theirs[name].dtype)
        assert values.shape == expected.shape
        assert values.astype(expected.dtype).tobytes() == expected.tobytes()
        assert member.storage <= theirs[name].id.get_storage_size() or theirs[name].id.get_storage_size() == 0


def _same_attributes(ours: Group | Dataset, theirs: Any) -> None:
    assert ours.attrs.keys() == set(theirs.attrs)
    for name, value in ours.attrs.items():
        assert np.array_equal(np.asarray(value), np.asarray(theirs.attrs[name]), equal_nan=False), name


def check(data: bytes) -> Group:
    found = open_image(data)
    with h5py.File(h5py.h5f.open_file_image(data)) as file:
        same(found, file)
    return found


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    shape=st.lists(st.integers(0, 40), min_size=0, max_size=3),
    chunks=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    options=st.sampled_from(({}, {"compression": "gzip"}, {"shuffle": True}, {"compression": 9, "shuffle": True})),
    seed=st.integers(0, 1000),
)
def test_every_kind_of_dataset(
    kind: str, shape: list[int], chunks: list[int], options: dict[str, Any], seed: int
) -> None:
    size = int(np.prod(shape))
    raw = np.random.default_rng(seed).integers(0, 256, size * np.dtype(kind).itemsize, dtype=np.uint8)
    values = (raw & 1 if kind == "bool" else raw).view(kind).reshape(shape)
    if options:
        if not shape or not size:
            options = {}
        else:
            options = {**options, "chunks": tuple(min(c, s) for c, s in zip(chunks, shape, strict=False))}

    def fill(file: h5py.File) -> None:
        file.create_dataset("a/b", data=values, track_times=False, **options)

    check(image(fill))


def test_trees_of_several_levels() -> None:
    """Thousands of links and of chunks: B-trees that branch."""

    def fill(file: h5py.File) -> None:
        for k in range(1500):
            file.create_group(f"many/{k * 7919 % 1500:05d}")
        values = np.arange(60_000, dtype=np.int64).reshape(300, 200)
        file.create_dataset("chunked", data=values, chunks=(7, 3), compression="gzip", shuffle=True)

    found = check(image(fill))
    assert len(found.group("many").members) == 1500


def test_attributes_of_all_kinds() -> None:
    def fill(file: h5py.File) -> None:
        for k, value in enumerate(
            (0, -(2**63), 1.5, True, "γένος", "", b"bytes", np.arange(7), np.array([b"a", b"bc"]))
        ):
            file.attrs[f"a{k}"] = value
        file.attrs["long"] = "x" * 200_000
        for k in range(40):
            file.attrs[f"more than one block of the header {k}"] = k

    found = check(image(fill))
    assert found.attribute("a0", int) == 0
    assert found.attribute("a4", str) == "γένος"
    assert len(found.attribute("long", str)) == 200_000
    with pytest.raises(StoreError, match="attribute a3 of / is missing, or no int"):
        found.attribute("a3", int)


def test_every_table_of_a_store_reads_as_it_was_written() -> None:
    columns = {
        "n": [1, -2, 3],
        "x": [0.1, float("inf"), None],
        "yes": [True, False, True],
        "text": ["", "γ", "two words"],
        "mixed": [None, "a", [1, {"b": 2}]],
    }
    data = image(lambda file: schema.write_table(file, "t", columns))
    found = schema.read_table(check(data), "t")
    assert list(found) == list(columns)
    assert found["n"].tolist() == [1, -2, 3]
    assert found["x"].tolist()[:2] == [0.1, float("inf")]
    assert np.isnan(found["x"][2])
    assert found["yes"].tolist() == [True, False, True]
    assert found["text"].tolist() == columns["text"]
    assert found["mixed"].tolist() == columns["mixed"]


@pytest.mark.parametrize("lowest", ["v108", "v110", "latest"])
def test_newer_forms_of_the_format_are_refused(lowest: str) -> None:
    with h5py.File("image", "w", driver="core", backing_store=False, libver=lowest) as file:
        file["x"] = 1
        file.flush()
        data = file.id.get_file_image()
    with pytest.raises(StoreError, match="superblock of another version"):
        open_image(data)


def test_a_text_longer_than_its_heap_is_refused() -> None:
    """A wrong length of a text of variable length would make the HDF5 library write past the end of its memory."""

    def fill(file: h5py.File) -> None:
        file.attrs["a"] = "twelve bytes"

    data = image(fill)
    at = data.index(b"GCOL")
    place = data.index(struct.pack("<IQ", 12, at))
    for length in (11, 13, 0xFFFFFFFF):
        with pytest.raises(StoreError, match="a text that its heap does not hold"):
            open_image(data[:place] + struct.pack("<I", length) + data[place + 4 :])


def test_a_tree_that_leads_to_itself_is_refused() -> None:
    data = image(lambda file: file.create_dataset("x", data=np.zeros(64), chunks=(8,)))
    tree = next(at for at in range(len(data)) if data.startswith(b"TREE\x01\x00", at))
    level = data[:tree] + b"TREE\x01\x01" + data[tree + 6 :]
    # Key: size, mask, two places; then the child.
    child = tree + 24 + 8 + 16
    with pytest.raises(StoreError, match=f"it leads to {tree} again"):
        open_image(level[:child] + struct.pack("<Q", tree) + level[child + 8 :])


def test_more_bytes_than_the_file_has_are_refused_though_each_dataset_fits() -> None:
    """Datasets that share their bytes: each fits, all together are many times the file."""

    def fill(file: h5py.File) -> None:
        for k in range(20):
            file.create_dataset(f"x{k}", data=np.full(5000, k, dtype=np.int64), track_times=False)

    data = bytearray(image(fill))
    with h5py.File(h5py.h5f.open_file_image(bytes(data))) as file:
        places = [file[f"x{k}"].id.get_offset() for k in range(20)]
    for place in places[1:]:
        at = data.index(struct.pack("<QQ", place, 40_000))
        data[at : at + 8] = struct.pack("<Q", places[0])
    found = open_image(bytes(data))
    assert found.dataset("x7").read().max() == 0
    # Cut away what nothing points to any more: now they claim twenty times what is there.
    with pytest.raises(StoreError, match=r"claim more bytes than it has|lie outside"):
        open_image(bytes(data[: places[1]]) + bytes(1000))

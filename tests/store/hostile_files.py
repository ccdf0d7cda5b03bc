"""Changes of a file of a store that mean harm, each with the checksum renewed, and the words that refuse them."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dash_hpc.store.envelope import HEADER_BYTES, seal
from dash_hpc.store.publish import canonical_json

Change = Callable[[h5py.File], None]


def forge(path: Path, change: Change) -> None:
    """Change the content of a file of a store and renew its checksum, as a program that means harm would."""
    data = path.read_bytes()
    form, version = data[:HEADER_BYTES].decode().split("\n")[:2]
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        with h5py.File(h5py.h5f.open_file_image(data[HEADER_BYTES:])) as source:
            for key in source:
                source.copy(key, file)
            for key, value in source.attrs.items():
                file.attrs[key] = value
        change(file)
        file.flush()
        body = file.id.get_file_image()
    path.write_bytes(seal(form, int(version.split()[1]), body) + body)


def put(file: h5py.File, path: str, values: np.ndarray, **options: Any) -> None:
    attrs = {key: value for key, value in file[path].attrs.items() if key != "sha256"} if path in file else {}
    if path in file:
        del file[path]
    dataset = file.create_dataset(path, data=values, **options)
    for key, value in attrs.items():
        dataset.attrs[key] = value
    dataset.attrs["sha256"] = np.bytes_(hashlib.sha256(values.tobytes()).hexdigest())


def put_text(file: h5py.File, path: str, text: bytes) -> None:
    put(file, path, np.array(text, dtype=h5py.string_dtype("utf-8", len(text))))


def table(file: h5py.File, name: str, columns: dict[str, np.ndarray]) -> None:
    """Replace a table by one whose columns are deflated as far as they can be."""
    del file[name]
    group = file.create_group(name)
    group.attrs["rows"] = np.int64(len(next(iter(columns.values()))))
    group.attrs["columns"] = np.array([key.encode() for key in columns])
    for key, values in columns.items():
        put(file, f"{name}/{key}", values, compression="gzip", compression_opts=1, chunks=(min(len(values), 1 << 16),))


def history_bomb(file: h5py.File) -> None:
    rows = 1 << 20
    table(file, "history", {f"c{k}": np.zeros(rows) for k in range(40)})
    del file["timing/history"]
    file["timing"].create_group("history").attrs["rows"] = np.int64(rows)
    file["timing/history"].attrs["columns"] = np.zeros(0, "S1")


def metrics_bomb(file: h5py.File) -> None:
    rows = 1 << 22
    table(file, "metrics", {"name": np.full(rows, b"x", dtype="S1"), "value": np.zeros(rows)})


def json_bomb(file: h5py.File) -> None:
    rows = 1 << 12
    text = (b"[" + b"[]," * 300 + b"0]").ljust(1 << 10)
    table(file, "events", {"epoch": np.zeros(rows, "i8"), "bomb": np.full(rows, text)})
    file["events/bomb"].attrs["kind"] = np.bytes_("json")


def network_bomb(file: h5py.File) -> None:
    """Two vectors of 30,000 zeros say that four matrices have 9·10^8 entries; none is active."""
    size = 30_000
    for name in ("b_sums", "b_prods", "v"):
        put(file, f"network/{name}", np.zeros(size, "f4"), compression="gzip", chunks=(1 << 10,))
    for name in ("W_sums", "W_prods", "U_sums", "U_prods"):
        for part, kind in (("row", "i4"), ("col", "i4"), ("value", "f4")):
            put(file, f"network/{name}/{part}", np.zeros(0, kind))
        put(file, f"network/{name}/shape", np.array([size, size]))
    names = np.array([f"g{k}".encode() for k in range(size)])
    table(file, "network/genes", {"name": names})


def chunk_bomb(file: h5py.File) -> None:
    """A chunk that says it has 24 bytes and inflates to 1 GB."""
    del file["history/train_mse"]
    dataset = file["history"].create_dataset("train_mse", shape=(3,), dtype="f8", chunks=(3,), compression="gzip")
    squeeze = zlib.compressobj(1)
    data = b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(64)) + squeeze.flush()
    dataset.id.write_direct_chunk((0,), data)


def spec_number(file: h5py.File) -> None:
    put_text(file, "spec", b"42")


def deep_spec(file: h5py.File) -> None:
    put_text(file, "spec", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def long_text(file: h5py.File) -> None:
    size = 1 << 30
    del file["provenance"]
    file.create_dataset("provenance", shape=(), dtype=h5py.string_dtype("utf-8", size))


def external_pipe(file: h5py.File) -> None:
    os.mkfifo("pipe") if not os.path.exists("pipe") else None
    del file["history/epoch"]
    file["history"].create_dataset("epoch", shape=(3,), dtype="i8", external=[(os.path.abspath("pipe"), 0, 24)])


def virtual_circle(file: h5py.File) -> None:
    del file["history/epoch"]
    layout = h5py.VirtualLayout(shape=(3,), dtype="i8")
    layout[:] = h5py.VirtualSource(".", "history/epoch", shape=(3,))
    file["history"].create_virtual_dataset("epoch", layout)


def external_link(file: h5py.File) -> None:
    del file["history"]
    file["history"] = h5py.ExternalLink("/dev/zero", "/history")


def soft_circle(file: h5py.File) -> None:
    del file["metrics"]
    file["metrics"] = h5py.SoftLink("/metrics")


def hard_circle(file: h5py.File) -> None:
    file["history/again"] = file["/"]


def many_objects(file: h5py.File) -> None:
    for k in range(10_001):
        file["history"].create_group(f"g{k}")


def long_strings(file: h5py.File) -> None:
    del file["events"]
    group = file.create_group("events")
    group.attrs["rows"], group.attrs["columns"] = np.int64(1), np.array([b"tensor"])
    group.create_dataset("tensor", data=["x" * (1 << 24)], dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    del file["metrics/value"]
    file["metrics"].create_dataset("value", data=[file["history"].ref] * 2, dtype=h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    del file["metrics/value"]
    file["metrics"].create_dataset("value", data=np.zeros(2, dtype=[("a", "f8"), ("b", "i4", (1000,))]))


def unknown_filter(file: h5py.File) -> None:
    del file["history/train_mse"]
    file["history"].create_dataset("train_mse", data=np.zeros(3), chunks=(3,), compression="lzf")


def attribute_of_another_kind(file: h5py.File) -> None:
    file.attrs["complete"] = np.zeros((3, 3))


def rows_beyond(file: h5py.File) -> None:
    file["history"].attrs["rows"] = np.int64(1 << 60)


def network_scalar(file: h5py.File) -> None:
    put(file, "network/W_sums/shape", np.array(5))


def network_long_shape(file: h5py.File) -> None:
    put(file, "network/W_sums/shape", np.zeros(1 << 25, "i1"), compression="gzip", chunks=(1 << 20,))


def network_table(file: h5py.File) -> None:
    put(file, "network/U_prods/value", np.zeros((2, 2), "f4"))


def biases_of_text(file: h5py.File) -> None:
    put(file, "network/b_sums", np.array([b"a", b"b"]))


def no_seed(file: h5py.File) -> None:
    spec = json.loads(file["spec"][()])
    del spec["seed"]
    put_text(file, "spec", canonical_json(spec).encode())


def no_strategy(file: h5py.File) -> None:
    spec = json.loads(file["spec"][()])
    del spec["strategy"]["name"]
    put_text(file, "spec", canonical_json(spec).encode())


def metric(name: str, value: float) -> Change:
    """Return a change that gives a metric this value."""

    def change(file: h5py.File) -> None:
        values = file["metrics/value"][()]
        values[[key.decode() for key in file["metrics/name"][()]].index(name)] = value
        put(file, "metrics/value", values)

    change.__name__ = f"metric_{name}_{value:g}"
    return change


REFUSED = {
    change.__name__: (change, words)
    for change, words in (
        (history_bomb, "claims 335"),
        (metrics_bomb, "claims"),
        (json_bomb, "/events claims"),
        (chunk_bomb, "does not unfold to 24 bytes"),
        (spec_number, "/spec: 42 where an object belongs"),
        (deep_spec, "brackets more than 32 deep"),
        (long_text, "a type of class 3, version 1 and 1073741824 bytes"),
        (external_pipe, "message 0x7"),
        (virtual_circle, "layout of version 4"),
        (external_link, "a symbolic link|message 0x"),
        (soft_circle, "a symbolic link"),
        (hard_circle, "references|leads to"),
        (many_objects, "too many objects"),
        (long_strings, "values of variable length"),
        (references, "a type of class 7"),
        (compound, "a type of class 6"),
        (unknown_filter, "the filter 32000"),
        (attribute_of_another_kind, "attribute complete of /"),
        (rows_beyond, r"where \(1152921504606846976,\) belongs"),
        (network_scalar, r"/network/W_sums/shape: int64 of shape \(\) where a list of whole numbers belongs"),
        (network_long_shape, r"/network/W_sums: cannot have shape \[0, 0, 0, 0\]"),
        (network_table, r"/network/U_prods/value: float32 of shape \(2, 2\) where a list of IEEE numbers belongs"),
        (biases_of_text, r"/network/b_sums: \|S1 of shape \(2,\) where a list of IEEE numbers belongs"),
        (no_seed, "/spec: seed is missing"),
        (no_strategy, "/spec: 'strategy': name is missing"),
        (metric("sparsity", 3.0), "/metrics: 'sparsity' cannot be 3"),
        (metric("validation_mse", -1.0), "/metrics: 'validation_mse' cannot be -1"),
    )
}

"""Ways to change what stands in an HDF5 file of a store, with checksums renewed: what a hostile program would write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from random import Random

import h5py
import numpy as np
from mutators import change_bytes, change_json, hostile_value

from dash_hpc.store.envelope import HEADER_BYTES, seal

__all__ = ["forge"]


def forge(data: bytes, rng: Random) -> tuple[str, bytes]:
    """Change the content of a file of a store and seal it again."""
    form, version = data[:HEADER_BYTES].split(b"\n")[:2]
    name, number = form.decode(), int(version.split()[1])
    body = data[HEADER_BYTES:]
    if rng.random() < 0.4:
        label, body = change_bytes(body, rng)
        label = f"bytes of HDF5: {label}"
    else:
        label, body = _rewrite(body, rng)
    return label, seal(name, number, body) + body


def _rewrite(body: bytes, rng: Random) -> tuple[str, bytes]:
    change = rng.choice(_CHANGES)
    with h5py.File(f"image-{rng.getrandbits(64):x}", "w", driver="core", backing_store=False) as file:
        with h5py.File(h5py.h5f.open_file_image(body)) as source:
            for key in source:
                source.copy(key, file)
            for key, value in source.attrs.items():
                file.attrs[key] = value
        paths: list[str] = []
        file.visit(paths.append)
        paths.sort()
        path = rng.choice(paths)
        # h5py does not write everything; what is done up to there counts.
        with suppress(KeyError, ValueError, TypeError, OSError, RuntimeError, AttributeError, UnicodeError):
            change(file, path, rng)
        file.flush()
        return f"{change.__name__.strip('_')} {path}", bytes(file.id.get_file_image())


def _put(file: h5py.File, path: str, values: np.ndarray, **options: object) -> None:
    attrs = dict(file[path].attrs)
    del file[path]
    dataset = file.create_dataset(path, data=values, **options)
    for key, value in attrs.items():
        dataset.attrs[key] = value
    if values.dtype.kind in "biufS":
        dataset.attrs["sha256"] = np.bytes_(hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest())


def _other_type(file: h5py.File, path: str, rng: Random) -> None:
    values = np.asarray(file[path][()])
    kind = rng.choice(("i1", "i8", "u2", "f2", "f4", ">f8", "f8", "bool", "S5", "c16", "M8[s]"))
    _put(file, path, np.resize(np.arange(max(values.size, 1)), values.shape).astype(kind))


def _other_shape(file: h5py.File, path: str, rng: Random) -> None:
    values = np.asarray(file[path][()])
    shape = rng.choice(((), (0,), (1,), (values.size + 1,), (2, 2), (1, 1, 1, 1), (5000,), (3, 5), (1 << 20,)))
    _put(file, path, np.resize(values, shape))


def _other_values(file: h5py.File, path: str, rng: Random) -> None:
    values = np.asarray(file[path][()])
    extremes = [0, -1, 1, 2**31, -(2**63), 2**63 - 1, np.nan, np.inf, 1e308]
    if values.dtype.kind == "S":
        new = np.resize(np.array([rng.randbytes(values.dtype.itemsize)]), values.shape)
    else:
        with np.errstate(all="ignore"):
            new = np.resize(np.array([rng.choice(extremes)]), values.shape).astype(values.dtype)
    _put(file, path, new.astype(values.dtype))


def _other_json(file: h5py.File, path: str, rng: Random) -> None:
    texts = [key for key in file if isinstance(file[key], h5py.Dataset)]
    if not texts:
        return _other_values(file, path, rng)
    path = rng.choice(texts)
    value = json.loads(file[path][()])
    text = json.dumps(change_json(value, rng)).encode() or b" "
    if rng.random() < 0.3:
        text = rng.choice(
            (b"1", b"[" * 5000, b'{"a":' * 3000, b"NaN", b"\xff", b"null", b"9" * 5000, b"1e999", b'{"a":1,"a":2}')
        )
    _put(file, path, np.array(text, dtype=h5py.string_dtype("utf-8", len(text))))


def _bomb(file: h5py.File, path: str, rng: Random) -> None:
    size = rng.choice((1 << 20, 1 << 24, 1 << 25))
    values = np.zeros(size, dtype=rng.choice(("i1", "f8", "S1", "S64") if size < 1 << 24 else ("i1", "S1")))
    _put(file, path, values, compression="gzip", compression_opts=1, chunks=(min(size, 1 << 20),))


def _claims(file: h5py.File, path: str, rng: Random) -> None:
    shape = rng.choice(((1 << 40,), (1 << 20, 1 << 20), (1 << 32,)))
    options = rng.choice(
        ({}, {"chunks": (1 << 10,) * len(shape)}, {"chunks": (1 << 10,) * len(shape), "compression": "gzip"})
    )
    del file[path]
    file.create_dataset(path, shape=shape, dtype="f8", **options)


def _filters(file: h5py.File, path: str, rng: Random) -> None:
    values = np.asarray(file[path][()])
    options = rng.choice(
        ({"fletcher32": True}, {"scaleoffset": 2}, {"compression": "lzf"}, {"shuffle": True}, {"compression": 9})
    )
    _put(file, path, np.resize(values, max(values.size, 4)), **options)


def _soft_link(file: h5py.File, path: str, rng: Random) -> None:
    del file[path]
    file[path] = h5py.SoftLink(rng.choice((path, "/", "/spec", "/nowhere", "/history")))


def _external_link(file: h5py.File, path: str, rng: Random) -> None:
    del file[path]
    file[path] = h5py.ExternalLink(rng.choice(("/dev/zero", "/etc/passwd", "other.h5")), "/")


def _hard_link(file: h5py.File, path: str, rng: Random) -> None:
    groups = ["/", *(key for key in file if isinstance(file[key], h5py.Group))]
    file[rng.choice(groups)][f"again{rng.randrange(3)}"] = file[rng.choice((path, "/", path.partition("/")[0]))]


def _external_storage(file: h5py.File, path: str, rng: Random) -> None:
    del file[path]
    place = rng.choice(("/dev/zero", "/dev/stdin", "/etc/passwd"))
    file.create_dataset(path, shape=(1000,), dtype="i1", external=[(place, 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File, path: str, rng: Random) -> None:
    del file[path]
    layout = h5py.VirtualLayout(shape=(1 << 20,), dtype="f8")
    layout[:] = h5py.VirtualSource(rng.choice((".", "/dev/zero", "x.h5")), path, shape=(1 << 20,))
    file.create_virtual_dataset(path, layout)


def _strange_type(file: h5py.File, path: str, rng: Random) -> None:
    del file[path]
    which = rng.randrange(5)
    if which == 0:
        file.create_dataset(path, data=np.zeros(3, dtype=[("a", "f8"), ("b", [("c", "i4", (3,))])]))
    elif which == 1:
        file.create_dataset(path, shape=(4,), dtype=h5py.vlen_dtype("f8"))[0] = np.zeros(1000)
    elif which == 2:
        file.create_dataset(path, data=np.array(["a" * 1000] * 3, dtype=object), dtype=h5py.string_dtype())
    elif which == 3:
        file.create_dataset(path, data=file.ref, dtype=h5py.ref_dtype)
    else:
        file.create_dataset(path, data=h5py.Empty("f4"))


def _attribute(file: h5py.File, path: str, rng: Random) -> None:
    place = rng.choice((file, file[path]))
    names = list(place.attrs) or ["x"]
    name = rng.choice([*names, "x" * 300, "λ"])
    value = rng.choice(
        (
            0, -1, 1 << 62, 1.5, True, "text", "", b"bytes", np.zeros(3), np.zeros((2, 2), "i4"), h5py.Empty("f4"),
            file.ref, "a" * 60_000, np.array([b"a", b"a"]), np.array(["a", "b"], dtype=object),
            np.zeros(1, [("a", "i4")]),
        )
    )  # fmt: skip
    if rng.random() < 0.2:
        del place.attrs[name]
    else:
        place.attrs[name] = value


def _gone(file: h5py.File, path: str, rng: Random) -> None:
    del file[path]


def _moved(file: h5py.File, path: str, rng: Random) -> None:
    file.move(path, rng.choice(("x", "metrics/x", "a/b/c/d/e/f/g/h/i/j/k", "name\x1b[31m", "x" * 300)))


def _more(file: h5py.File, path: str, rng: Random) -> None:
    groups = ["/", *(key for key in file if isinstance(file[key], h5py.Group))]
    group = file[rng.choice(groups)]
    for k in range(rng.choice((1, 300))):
        group.create_group(f"more{k}") if rng.random() < 0.5 else group.create_dataset(
            f"more{k}", data=hostile_number(rng)
        )


def hostile_number(rng: Random) -> float:
    value = hostile_value(rng)
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e300 else 0.0


_CHANGES: tuple[Callable[[h5py.File, str, Random], None], ...] = (
    _other_type, _other_shape, _other_values, _other_values, _other_json, _other_json, _other_json, _bomb, _claims,
    _filters, _soft_link, _external_link, _hard_link, _external_storage, _virtual, _strange_type, _attribute,
    _attribute, _gone, _moved, _more,
)  # fmt: skip

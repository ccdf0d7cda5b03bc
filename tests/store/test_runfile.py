from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.store import RunWriter, compare_runs, publish_bytes, read_run, run_path
from dash_hpc.store.envelope import HEADER_BYTES, to_bytes
from dash_hpc.store.schema import write_array

RUN_ID = "00112233445566aa"


@pytest.fixture
def writer(tmp_path: Path, spec: dict[str, Any]) -> RunWriter:
    return RunWriter(tmp_path, RUN_ID, spec, {"host": "h", "λ": 1})


@pytest.fixture
def done(writer: RunWriter, result: dict[str, Any]) -> Path:
    writer.finish(**result)
    return writer.path


def test_done_run_comes_back_as_it_was(done: Path, spec: dict[str, Any], result: dict[str, Any]) -> None:
    record = read_run(done)
    assert (record.run_id, record.status, record.reason, record.complete) == (RUN_ID, "done", "", True)
    assert record.spec == spec
    assert record.provenance == {"host": "h", "λ": 1}
    assert (record.epochs, record.epoch, record.stop_reason) == (2, 2, "epochs")
    assert record.notes == ("no reference network",)
    assert record.metrics == result["metrics"]
    assert record.timing == {"seconds_total": 1.5}
    assert record.history["epoch"].dtype == np.int64
    assert record.history["train_mse"].tolist() == [0.5, 0.25]
    assert math.isnan(record.history["validation_mse"][1])
    assert record.history["seconds"].tolist() == [0.1, 0.2]
    assert record.events["tensor"].tolist() == ["W_sums", "U_prods"]
    assert record.events["method"].tolist() == ["cholesky", ""]
    assert math.isnan(record.events["condition"][1])
    assert record.network is not None
    assert record.network.genes == ("a", "b", "γ", "d", "e")
    for name, values in result["weights"].items():
        assert record.network.weights[name].dtype == np.float32
        np.testing.assert_array_equal(record.network.weights[name], values)
    for name, mask in result["masks"].items():
        np.testing.assert_array_equal(record.network.masks[name], mask)


def test_active_weight_of_exactly_zero_stays_active(done: Path) -> None:
    network = read_run(done).network
    assert network is not None
    assert network.weights["W_sums"][0, 0] == 0
    assert network.masks["W_sums"][0, 0]


def test_float64_and_unmasked_tensors(writer: RunWriter, result: dict[str, Any]) -> None:
    weights = {name: values.astype(np.float64) / 3 for name, values in result["weights"].items()}
    writer.finish(**{**result, "weights": weights, "masks": {}})
    network = read_run(writer.path).network
    assert network is not None
    assert network.masks["U_sums"].all()
    for name, values in weights.items():
        assert network.weights[name].tobytes() == values.tobytes()


def test_large_network_is_compressed_and_equal(writer: RunWriter, result: dict[str, Any]) -> None:
    shapes = {"W_sums": (40, 350), "W_prods": (40, 350), "U_sums": (350, 40), "U_prods": (350, 40)}
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    rest = {name: rng.standard_normal(size) for name, size in (("b_sums", 40), ("b_prods", 40), ("v", 350))}
    result["genes"] = [f"g{k}" for k in range(350)]
    writer.finish(**{**result, "weights": weights | rest, "masks": {}})
    with h5py.File(writer.path) as file:
        assert file["network/W_sums/row"].compression == "gzip"
    network = read_run(writer.path).network
    assert network is not None
    np.testing.assert_array_equal(network.weights["U_prods"], weights["U_prods"])


def test_any_hdf5_reader_opens_the_file(done: Path) -> None:
    assert done.read_bytes().startswith(b"dash-hpc run\nversion 1\n")
    with h5py.File(done) as file:
        attributes = {key: file.attrs[key] for key in ("format", "version", "run_id", "status", "complete")}
        assert attributes["format"] == "dash-hpc run"
        assert (attributes["version"], attributes["run_id"]) == (1, RUN_ID)
        assert attributes["complete"]
        assert file["history/train_mse"][:].tolist() == [0.5, 0.25]
        assert "seconds" not in file["history"]
        assert len(file["network/W_sums/value"].attrs["sha256"]) == 64


def test_equal_runs_have_equal_bytes(tmp_path: Path, spec: dict[str, Any], result: dict[str, Any]) -> None:
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        writer = RunWriter(tmp_path / folder, RUN_ID, spec, {})
        writer.begin()
        writer.finish(**result)
        contents.append(writer.path.read_bytes())
    assert contents[0] == contents[1]


def test_updates_are_published_every_five_seconds(tmp_path: Path, spec: dict[str, Any]) -> None:
    now = [100.0]
    writer = RunWriter(tmp_path, RUN_ID, spec, {}, clock=lambda: now[0])
    writer.begin()
    history: dict[str, list[float]] = {"epoch": [], "train_mse": []}
    published = []
    for epoch in range(1, 13):
        now[0] += 1.0
        history["epoch"].append(epoch)
        history["train_mse"].append(1 / epoch)
        if writer.update(history, [{"epoch": 1, "n": 3}]):
            published.append(epoch)
            record = read_run(writer.path)
            assert (record.status, record.complete, record.epochs) == ("running", False, epoch)
    assert published == [5, 10]
    writer.fail("diverged\n at epoch 13")
    record = read_run(writer.path)
    assert (record.status, record.reason, record.complete) == ("failed", "diverged at epoch 13", True)
    assert record.epochs == 12
    assert record.events["n"].tolist() == [3]
    assert record.network is None
    assert record.metrics == {}


def test_history_of_an_earlier_record_is_kept(writer: RunWriter, spec: dict[str, Any], tmp_path: Path) -> None:
    writer.begin()
    writer._interval = 0.0
    writer.update({"epoch": [1], "seconds": [0.5]}, [{"epoch": 1, "tensor": "W_sums"}])
    second = RunWriter(tmp_path, RUN_ID, spec, {})
    second.resume_from(read_run(writer.path))
    second.fail("killed")
    record = read_run(writer.path)
    assert record.history["seconds"].tolist() == [0.5]
    assert record.events["tensor"].tolist() == ["W_sums"]


def test_vanished_folder_is_not_made_anew(writer: RunWriter, tmp_path: Path, result: dict[str, Any]) -> None:
    """A file system that is unmounted leaves an empty folder, or none, where the store was."""
    writer.begin()
    before = writer.path.read_bytes()
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"No such file or directory; bring the folder back"):
        writer.finish(**result)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "runs")
    assert writer.path.read_bytes() == before
    writer.finish(**result)
    assert read_run(writer.path).status == "done"
    gone = RunWriter(tmp_path / "gone", RUN_ID, {}, {})
    with pytest.raises(StoreError, match=r"gone is gone; bring the folder back"):
        gone.begin()
    assert not (tmp_path / "gone").exists()


def test_weight_outside_its_mask_is_refused(writer: RunWriter, result: dict[str, Any]) -> None:
    writer.begin()
    result["weights"]["W_sums"][...] = 1.0
    with pytest.raises(StoreError, match="W_sums has weights other than 0 outside its mask"):
        writer.finish(**result)
    assert read_run(writer.path).status == "running"


def test_columns_of_unequal_length_are_refused(writer: RunWriter) -> None:
    writer._interval = 0.0
    with pytest.raises(StoreError, match="'b' of table 'history' has 1 rows where 2 belong"):
        writer.update({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize("run_id", ["", "../../etc/passwd", "0011", "00112233445566AA", "00112233445566aa\n"])
def test_malformed_run_id(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(StoreError, match="16 hexadecimal digits"):
        run_path(tmp_path, run_id)


def differing(result: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**result, **changes}


def test_compare_names_what_differs(tmp_path: Path, spec: dict[str, Any], result: dict[str, Any], done: Path) -> None:
    (tmp_path / "other").mkdir()

    def other(**changes: Any) -> list[str]:
        writer = RunWriter(tmp_path / "other", RUN_ID, spec, {"host": "elsewhere"})
        writer.finish(**differing(result, **changes))
        return compare_runs(done, writer.path)

    history = result["history"]
    assert other() == []
    assert other(timing={}, history={**history, "seconds": [9.0, 9.0]}) == []
    nudged = [0.5, np.nextafter(0.25, 1)]
    assert other(history={**history, "train_mse": nudged}) == ["history: train_mse differs in 1 of 2 values"]
    assert other(metrics={"sparsity": 0.6}) == ["metrics: validation_mse is in one only"]
    assert other(stop_reason="early_stop") == ["stop_reason: 'epochs' and 'early_stop'"]
    weights = {**result["weights"], "v": -result["weights"]["v"]}
    assert other(weights=weights) == ["network: v differs in 5 of 5 values"]
    masks = {**result["masks"], "U_sums": np.ones((5, 3), dtype=bool)}
    assert other(masks=masks) == ["mask: U_sums differs in 7 of 15 values"]


def foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "x") as file:
        file["x"] = 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("gene,value\nA,1\n"), "not a file of dash-hpc.*move it out"),
        (lambda path: path.touch(), "empty"),
        (foreign_hdf5, "an HDF5 file, but not one of dash-hpc; move it out"),
        (lambda path: path.mkdir(), "not a regular file|cannot be read"),
        (lambda path: os.mkfifo(path), "not a regular file; move it out"),
        (
            lambda path: publish_bytes(path, to_bytes("dash-hpc run", 2, lambda file: None)),
            "version 2.*reads version 1",
        ),
        (lambda path: publish_bytes(path, to_bytes("dash-hpc index", 1, lambda file: None)), "'dash-hpc index' file"),
        (
            lambda path: publish_bytes(path, to_bytes("dash-hpc run", 1, lambda file: None)),
            "damaged: group /history is missing|attribute run_id",
        ),
        (lambda path: None, "no such file"),
    ],
)
def test_foreign_files_are_refused_with_path_and_remedy(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "x.h5"
    make(path)
    with pytest.raises(StoreError, match=message) as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_version_is_damage_and_not_another_version(tmp_path: Path, done: Path) -> None:
    path = tmp_path / "x.h5"
    publish_bytes(path, to_bytes("dash-hpc run", 3, lambda file: None))
    with pytest.raises(OtherVersion):
        read_run(path)
    path.write_bytes(done.read_bytes().replace(b"version 1\n", b"version 3\n", 1))
    with pytest.raises(StoreError, match="its checksum differs") as caught:
        read_run(path)
    assert not isinstance(caught.value, OtherVersion)


def test_every_truncation_is_noticed(tmp_path: Path, done: Path) -> None:
    data = done.read_bytes()
    path = tmp_path / "cut.h5"
    lengths = {*range(0, HEADER_BYTES + 8, 40), *range(HEADER_BYTES, len(data), 997), len(data) - 1}
    for length in sorted(lengths):
        publish_bytes(path, data[:length])
        with pytest.raises(StoreError, match=r"truncated|damaged|empty|not a file"):
            read_run(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path, done: Path) -> None:
    data = done.read_bytes()
    path = tmp_path / "flipped.h5"
    rng = np.random.default_rng(3)
    positions = np.concatenate([rng.integers(0, HEADER_BYTES, 60), rng.integers(0, len(data), 200)])
    for position in positions.tolist():
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(StoreError):
            read_run(path)


def test_dataset_checksum_is_checked_too(tmp_path: Path, done: Path) -> None:
    """A file changed by another tool and sealed again is still refused."""
    body = tmp_path / "body.h5"
    body.write_bytes(done.read_bytes()[HEADER_BYTES:])
    with h5py.File(done) as source:

        def fill(file: h5py.File) -> None:
            for key in source:
                source.copy(key, file)
            for key, value in source.attrs.items():
                file.attrs[key] = value
            file["metrics/value"][0] = 99.0

        publish_bytes(tmp_path / "x.h5", to_bytes("dash-hpc run", 1, fill))
    with pytest.raises(StoreError, match="metrics/value differs from its checksum"):
        read_run(tmp_path / "x.h5")


def test_huge_declared_dataset_is_refused_unread(tmp_path: Path, done: Path) -> None:
    def fill(file: h5py.File) -> None:
        with h5py.File(done) as source:
            for key in source:
                source.copy(key, file)
            for key, value in source.attrs.items():
                file.attrs[key] = value
        del file["spec"]
        file.create_dataset("spec", shape=(1 << 40,), dtype="f8", chunks=(1 << 10,))

    publish_bytes(tmp_path / "x.h5", to_bytes("dash-hpc run", 1, fill))
    with pytest.raises(StoreError, match="claims 8796093022208 bytes"):
        read_run(tmp_path / "x.h5")


def _with(done: Path, target: Path, change: Any) -> Path:
    """Copy a run file, changed and sealed again, as a hostile or faulty program would write it."""

    def fill(file: h5py.File) -> None:
        with h5py.File(done) as source:
            for key in source:
                source.copy(key, file)
            for key, value in source.attrs.items():
                file.attrs[key] = value
        change(file)

    publish_bytes(target, to_bytes("dash-hpc run", 1, fill))
    return target


def _replace(file: h5py.File, name: str, values: np.ndarray, **options: Any) -> None:
    del file[name]
    group, _, own = name.rpartition("/")
    if options:
        dataset = file[group].create_dataset(own, data=values, **options)
        dataset.attrs["sha256"] = np.bytes_(hashlib.sha256(values.tobytes()).hexdigest())
    else:
        write_array(file[group], own, values)


def _many(file: h5py.File, columns: int, rows: int) -> None:
    names = [f"column{k}" for k in range(columns)]
    for name in names:
        file["history"].create_dataset(name, data=np.zeros(rows), compression="gzip", chunks=(1 << 20,))
    del file["history"].attrs["columns"]
    file["history"].attrs["columns"] = np.array([name.encode() for name in names])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: _replace(file, "network/W_sums/shape", np.array([1 << 40, 1 << 20])),
            r"W_sums: cannot have shape",
        ),
        (lambda file: _replace(file, "network/W_sums/shape", np.array([-3, 5])), r"W_sums: cannot have shape"),
        (lambda file: _replace(file, "network/W_sums/shape", np.array([3, 1])), r"W_sums: cannot have shape"),
        (
            lambda file: _replace(
                file, "network/W_sums/col", np.full(len(file["network/W_sums/col"]), 5, dtype=np.int32)
            ),
            r"W_sums: an index lies outside",
        ),
        (
            # 64 MB of zeros in 64 kB, and further ones for as much as anybody likes.
            lambda file: _replace(file, "metrics/value", np.zeros(1 << 24), compression="gzip", chunks=(1 << 20,)),
            r"/metrics claims 1342\d{5} bytes, far more than its file holds",
        ),
        (
            # 48 MB are allowed; 25 times as much in one file are not.
            lambda file: _many(file, 25, 6 << 20),
            r"/ claims 12\d{8} bytes, far more than its file holds",
        ),
        (lambda file: file["history"].attrs.modify("rows", 1 << 40), r"where \(1099511627776,\) belongs"),
        (lambda file: file.attrs.modify("status", "finished"), r"status 'finished' is none of"),
    ],
)
def test_well_sealed_nonsense_is_refused_from_its_metadata(
    tmp_path: Path, done: Path, change: Any, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        read_run(_with(done, tmp_path / "x.h5", change))

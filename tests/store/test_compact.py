from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dash_hpc.errors import StoreError
from dash_hpc.store import (
    RunWriter,
    compact,
    find_record,
    open_store,
    planned_ids,
    publish,
    read_run,
    rebuild_index,
    run_path,
    verify,
)
from dash_hpc.store.bundle import check_bundle, pack_bundle, read_contents, read_member

Make = Callable[[Sequence[str]], Path]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def bundles(folder: Path) -> list[Path]:
    return sorted((folder / "bundles").glob("*.h5"))


def test_compacted_store_reads_the_same(make_hashed: Make, result: dict[str, Any]) -> None:
    folder = make_hashed(["done", "failed", "running", "pending", "done"])
    ids = planned_ids(folder)
    before = open_store(folder)
    records = {run_id: run_path(folder, run_id).read_bytes() for run_id in (ids[0], ids[1], ids[4])}
    done = compact(folder)
    assert (done.runs, done.bundles, done.files_removed, done.problems) == (3, 1, 3, ())
    assert [name for name in files(folder) if name.endswith(".h5")] == [
        str(bundles(folder)[0].relative_to(folder)),
        "index.h5",
        str(run_path(folder, ids[2]).relative_to(folder)),
    ]
    for store in (open_store(folder), before.refresh()):
        pd.testing.assert_frame_equal(store.runs, before.runs)
        assert store.counts() == {"planned": 5, "done": 2, "failed": 1, "running": 1, "pending": 1, "damaged": 0}
        assert store.problems == ()
        np.testing.assert_array_equal(store.weights(ids[4])["v"], result["weights"]["v"])
        assert store.history(ids[0])["train_mse"].tolist() == [0.5, 0.25]
        assert store.spec(ids[1])["seed"] == 1
        assert store.status(ids[3]) == "pending"
    (bundle,) = bundles(folder)
    for member in check_bundle(bundle):
        assert read_member(bundle, member) == records[member.run_id]


def test_index_serves_compacted_runs(make_hashed: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_hashed(["done", "done", "failed"])
    plain = open_store(folder).runs
    compact(folder)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a run was read")

    monkeypatch.setattr("dash_hpc.store.index.read_run", refuse)
    pd.testing.assert_frame_equal(open_store(folder).runs, plain)


def test_other_programs_get_the_run_file_out_of_a_bundle(make_hashed: Make, tmp_path: Path) -> None:
    folder = make_hashed(["done", "done"])
    run_id = planned_ids(folder)[1]
    compact(folder)
    with h5py.File(bundles(folder)[0]) as file:
        data = file[f"runs/{run_id}"][:]
        assert file[f"runs/{run_id}"].attrs["status"] == b"done"
    (tmp_path / "run.h5").write_bytes(data.tobytes())
    assert read_run(tmp_path / "run.h5").run_id == run_id
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["history/train_mse"][:].tolist() == [0.5, 0.25]


def test_nothing_is_left_to_do_the_second_time(make_hashed: Make) -> None:
    folder = make_hashed(["done", "done"])
    compact(folder)
    before = {path: path.stat().st_mtime_ns for path in bundles(folder)}
    again = compact(folder)
    assert (again.runs, again.bundles, again.files_removed) == (0, 1, 0)
    assert {path: path.stat().st_mtime_ns for path in bundles(folder)} == before


def test_new_runs_join_small_bundles(make_hashed: Make, result: dict[str, Any], spec: dict[str, Any]) -> None:
    folder = make_hashed(["done", "failed", "pending"])
    ids = planned_ids(folder)
    compact(folder)
    for k in (1, 2):
        RunWriter(folder, ids[k], {**spec, "seed": k}, {}).finish(**result)
    assert open_store(folder).counts()["done"] == 3
    done = compact(folder)
    assert (done.runs, done.bundles, done.files_removed) == (3, 1, 3)
    assert {member.run_id: member.status for member in read_contents(bundles(folder)[0])} == dict.fromkeys(ids, "done")
    assert open_store(folder).counts()["done"] == 3
    assert not verify(folder).damaged


def test_full_bundles_stay_and_many_runs_make_few(make_hashed: Make) -> None:
    folder = make_hashed(["done"] * 6)
    size = run_path(folder, planned_ids(folder)[0]).stat().st_size
    assert compact(folder, bundle_bytes=2 * size).bundles == 3
    assert compact(folder, bundle_bytes=2 * size).runs == 0
    assert not verify(folder).damaged
    assert verify(folder).bundles == 3


def test_interrupted_compaction_goes_on(make_hashed: Make) -> None:
    """The bundle was published, and the process died before it removed the originals."""
    folder = make_hashed(["done", "done"])
    aside = folder.with_name("aside")
    shutil.copytree(folder / "runs", aside)
    compact(folder)
    shutil.copytree(aside, folder / "runs", dirs_exist_ok=True)
    store = open_store(folder)
    assert store.counts()["done"] == 2
    assert not verify(folder).damaged
    done = compact(folder)
    assert (done.bundles, done.files_removed) == (1, 2)
    assert open_store(folder).counts()["done"] == 2


def test_originals_stay_when_the_bundle_cannot_be_trusted(make_hashed: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_hashed(["done", "done"])
    before = files(folder)

    class Forgetful(type(publish.layer)):  # type: ignore[misc]
        def sync(self, descriptor: int) -> None:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - 1)

    monkeypatch.setattr(publish, "layer", Forgetful())
    with pytest.raises(StoreError, match="truncated"):
        compact(folder)
    assert set(before) <= set(files(folder))
    monkeypatch.undo()
    assert open_store(folder).counts()["done"] == 2


def test_damaged_runs_stay_in_their_own_file(make_hashed: Make) -> None:
    folder = make_hashed(["done", "done"])
    path = run_path(folder, planned_ids(folder)[0])
    path.write_bytes(path.read_bytes()[:-5])
    done = compact(folder)
    assert (done.runs, done.files_removed) == (1, 1)
    assert [str(path) in problem for problem in done.problems] == [True]
    assert path.exists()


def test_damaged_run_in_a_bundle_is_done_again(make_hashed: Make, result: dict[str, Any], spec: dict[str, Any]) -> None:
    folder = make_hashed(["done", "done", "done"])
    ids = planned_ids(folder)
    compact(folder)
    (bundle,) = bundles(folder)
    damaged = next(member for member in read_contents(bundle) if member.run_id == ids[1])
    data = bytearray(bundle.read_bytes())
    data[damaged.offset + 9000] ^= 1
    bundle.write_bytes(data)
    store = open_store(folder)
    assert [store.status(run_id) for run_id in ids] == ["done", "pending", "done"]
    assert store.pending == (ids[1],)
    assert any("damaged where run" in problem for problem in store.problems)
    assert find_record(folder, ids[1]) is None
    assert verify(folder).damaged
    RunWriter(folder, ids[1], {**spec, "seed": 1}, {}).finish(**result)
    assert open_store(folder).counts()["done"] == 3
    # All good runs move to a new bundle; the damaged one is nobody's any more and goes.
    compact(folder)
    assert open_store(folder).counts()["done"] == 3
    assert not verify(folder).damaged


def test_bundle_with_a_damaged_list_is_left_alone(make_hashed: Make) -> None:
    folder = make_hashed(["done", "done"])
    compact(folder)
    (bundle,) = bundles(folder)
    data = bytearray(bundle.read_bytes())
    data[300] ^= 1
    bundle.write_bytes(data)
    store = open_store(folder)
    assert store.counts()["done"] == 0
    assert any("its list of runs cannot be read" in problem for problem in store.problems)
    assert compact(folder).problems == store.problems
    assert bundle.exists()


def test_every_flipped_bit_of_the_text_is_told(make_hashed: Make) -> None:
    folder = make_hashed(["done", "done"])
    compact(folder)
    (bundle,) = bundles(folder)
    whole = bundle.read_bytes()
    text = int(whole.split(b"\nblock ")[1].split()[0])
    for bit in range(8 * text):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        bundle.write_bytes(data)
        with pytest.raises(StoreError):
            check_bundle(bundle)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("mine"), "not a file of dash-hpc"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
        (
            lambda path: path.write_bytes(b"dash-hpc bundle\nversion 2\nbytes 1\n"),
            "version 2, but this .* reads version 1",
        ),
        (
            lambda path: path.write_bytes(
                b"dash-hpc bundle\nversion 1\nbytes 1\nsha256 " + b"0" * 64 + b"\nblock 9999999999\nruns 999999999\n"
                b"contents-sha256 " + b"0" * 64 + b"\n"
            ),
            "its list of runs cannot be read",
        ),
    ],
)
def test_foreign_files_among_bundles(make_hashed: Make, make: Callable[[Path], object], message: str) -> None:
    folder = make_hashed(["done", "done"])
    compact(folder)
    make(folder / "bundles" / "x.h5")
    store = open_store(folder)
    assert store.counts()["done"] == 2
    assert len(store.problems) == 1
    assert pd.Series(store.problems).str.contains(message).all(), store.problems


def test_equal_runs_make_equal_bundles() -> None:
    runs = [(f"{k:016x}", "done", bytes([k]) * 1000) for k in range(5)]
    assert pack_bundle(runs) == pack_bundle(runs)


def test_run_compacted_while_a_store_is_open(make_hashed: Make) -> None:
    folder = make_hashed(["done", "failed"])
    ids = planned_ids(folder)
    store = open_store(folder)
    compact(folder)
    assert store.record(ids[0]).metrics["sparsity"] == 0.6
    record = find_record(folder, ids[1])
    assert record is not None
    assert record.status == "failed"
    assert find_record(folder, "f" * 16) is None


def test_empty_and_foreign_folders(make_hashed: Make, tmp_path: Path) -> None:
    folder = make_hashed(["pending"])
    assert compact(folder).runs == 0
    assert rebuild_index(folder) == 0
    with pytest.raises(StoreError, match="not the output folder"):
        compact(tmp_path / "nowhere")

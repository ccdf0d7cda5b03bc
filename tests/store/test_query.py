from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dash_hpc.errors import StoreError
from dash_hpc.ids import spec_id
from dash_hpc.store import RunWriter, index, open_store, rebuild_index, run_path, write_plan

Make = Callable[[Sequence[str]], Path]
# Ids of the specs of conftest.py with the seeds 0, 1, …
IDS = [
    "b53e7498dd321ecd",
    "7e396d1b429c40ed",
    "7c45d98095a4296c",
    "6f001d62b1763c8b",
    "b7ff489334667db7",
    "925aa62a4616fe08",
    "687fdf95b1a59d5f",
    "83db2c2c73143b91",
    "d2f32330d2f85d2a",
]


def test_all_runs_as_one_table(make_store: Make) -> None:
    store = open_store(make_store(["done", "failed", "running", "pending"]))
    runs = store.runs
    assert runs.index.name == "run_id"
    assert runs.index.tolist() == IDS[:3]
    assert runs.columns[:6].tolist() == ["status", "reason", "strategy", "seed", "lambda_motif", "lambda_ppi"]
    assert runs["status"].tolist() == ["done", "failed", "running"]
    assert runs.loc[IDS[1], "reason"] == "epoch 3: the loss is not finite"
    assert runs["seed"].tolist() == [0, 1, 2]
    assert runs["lambda_ppi"].tolist() == [0.25] * 3
    assert runs.loc[IDS[0], ["epoch", "epochs", "validation_mse", "seconds_total"]].tolist() == [2, 2, 0.125, 1.5]
    assert np.isnan(runs.loc[IDS[1], "validation_mse"])
    assert runs.loc[IDS[0], "data.times"] == "[0.0,2.0]"
    assert store.name == "hand-made"
    assert store.pending == (IDS[3],)
    assert store.counts() == {"planned": 4, "done": 1, "failed": 1, "running": 1, "pending": 1, "damaged": 0}
    assert store.problems == ()
    assert store.column("validation_mse") == {IDS[0]: 0.125}


def test_one_run(make_store: Make, spec: dict[str, Any], result: dict[str, Any]) -> None:
    store = open_store(make_store(["done", "running", "pending"]))
    assert store.history(IDS[0])["train_mse"].tolist() == [0.5, 0.25]
    assert store.events(IDS[0])["tensor"].tolist() == ["W_sums", "U_prods"]
    assert store.spec(IDS[0]) == {**spec, "seed": 0}
    assert store.spec(IDS[2]) == {**spec, "seed": 2}
    assert store.metrics(IDS[0]) == result["metrics"]
    assert store.provenance(IDS[0]) == {"host": "here"}
    assert store.network(IDS[0]).epoch == 2
    weights = store.weights(IDS[0])
    np.testing.assert_array_equal(weights["v"], result["weights"]["v"])
    np.testing.assert_array_equal(weights["masks"]["U_sums"], result["masks"]["U_sums"])
    with pytest.raises(StoreError, match="is running: it has no network"):
        store.network(IDS[1])


def test_run_ids_may_be_shortened_when_unique(make_store: Make) -> None:
    folder = make_store(["done", "done"])
    twin = IDS[0][:15] + ("0" if IDS[0][15] != "0" else "1")
    RunWriter(folder, twin, {"seed": 9}, {}).begin()
    store = open_store(folder)
    assert store.record(IDS[1][:5]).run_id == IDS[1]
    with pytest.raises(StoreError, match="2 runs begin so"):
        store.record(IDS[0][:8])
    with pytest.raises(StoreError, match="no such run"):
        store.record("f" * 9)


def test_runs_of_an_earlier_plan_stay_apart(make_store: Make, spec: dict[str, Any], tmp_path: Path) -> None:
    folder = make_store(["done", "done"])
    write_plan(folder, [(IDS[1], {**spec, "seed": 1})], study="smaller", base=tmp_path)
    store = open_store(folder)
    assert store.runs.index.tolist() == [IDS[1]]
    assert store.extra == (IDS[0],)


def test_a_pipe_in_place_of_the_plan_does_not_block(make_store: Make) -> None:
    folder = make_store(["done", "done"])
    (folder / "plan.jsonl").unlink()
    os.mkfifo(folder / "plan.jsonl")
    store = open_store(folder)
    assert store.counts()["done"] == 2
    assert any("plan.jsonl: a pipe, not a regular file" in problem for problem in store.problems)


def test_damaged_and_foreign_files_hide_nothing(make_store: Make) -> None:
    folder = make_store(["done", "done", "done", "done", "done"])
    damaged, cut, copied = (run_path(folder, IDS[k]) for k in (1, 2, 3))
    data = damaged.read_bytes()
    damaged.write_bytes(data[:3000] + b"?" + data[3001:])
    cut.write_bytes(data[:700])
    shutil.copy(run_path(folder, IDS[0]), copied)
    place = run_path(folder, IDS[0]).parent
    (place / "notes.txt").write_text("mine")
    (folder / "runs" / "README").write_text("mine")
    (place / ".tmp-1-ab.h5").write_text("half")
    (place / f"{IDS[7]}.ckpt.h5").write_text("a checkpoint")
    run_path(folder, IDS[8]).parent.mkdir(exist_ok=True)
    os.mkfifo(run_path(folder, IDS[8]))

    store = open_store(folder)
    assert store.runs.index.tolist() == [IDS[0], IDS[4]]
    assert store.counts()["damaged"] == 4
    assert store.status(IDS[1]) == "damaged"
    for name, what in (
        (damaged.name, "checksum differs"),
        (cut.name, "truncated"),
        (copied.name, f"holds run {IDS[0]}"),
        (f"{IDS[8]}.h5", "not a regular file"),
        ("notes.txt", "not a run file"),
        ("README", "not a folder of run files"),
    ):
        assert [problem for problem in store.problems if name in problem and what in problem], (name, what)
    assert len(store.problems) == 6
    with pytest.raises(StoreError, match="checksum differs"):
        store.record(IDS[1])


def test_table_is_a_copy_and_refresh_sees_changes(make_store: Make, result: dict[str, Any]) -> None:
    folder = make_store(["running", "pending"])
    store = open_store(folder)
    store.runs["status"] = "changed"
    assert store.runs["status"].tolist() == ["running"]
    RunWriter(folder, IDS[0], store.spec(IDS[0]), {}).finish(**result)
    assert store.runs["status"].tolist() == ["running"]
    assert store.refresh().runs["status"].tolist() == ["done"]


def test_index_gives_the_same_table_without_reading_run_files(
    make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_store(["done", "failed", "done"])
    plain = open_store(folder).runs
    assert rebuild_index(folder) == 3

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a run file was read")

    monkeypatch.setattr(index, "read_run", refuse)
    pd.testing.assert_frame_equal(open_store(folder).runs, plain)


def test_stale_rows_of_the_index_are_not_used(make_store: Make) -> None:
    folder = make_store(["done", "done"])
    open_store(folder).write_index()
    writer = RunWriter(folder, IDS[1], open_store(folder).spec(IDS[1]), {})
    writer.fail("changed later")
    runs = open_store(folder).runs
    assert runs["status"].tolist() == ["done", "failed"]
    run_path(folder, IDS[0]).unlink()
    assert open_store(folder).runs.index.tolist() == [IDS[1]]


def test_index_is_rebuilt_from_run_files_alone(make_store: Make) -> None:
    folder = make_store(["done", "running", "done"])
    path = folder / index.INDEX_FILE
    rebuild_index(folder)
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    run_path(folder, IDS[2]).write_bytes(b"damaged")
    store = open_store(folder)
    assert store.runs.index.tolist() == IDS[:2]
    assert any(str(path) in problem for problem in store.problems)
    assert rebuild_index(folder) == 1
    assert set(index.read_index(folder)) == {IDS[0]}
    path.unlink()
    assert open_store(folder).runs.index.tolist() == IDS[:2]


def test_strategies_with_different_options_share_a_table(make_store: Make, tmp_path: Path) -> None:
    folder = make_store(["done"])
    specs = [{"name": "none"}, {"name": "imp", "rewind": "init"}, {"name": "imp", "rewind": 3}]
    runs = [(spec_id(spec), spec) for spec in ({"seed": 0, "strategy": own} for own in specs)]
    for run_id, own in runs:
        RunWriter(folder, run_id, own, {}).fail("x")
    write_plan(folder, [(IDS[0], open_store(folder).spec(IDS[0])), *runs], study="mixed", base=tmp_path)
    plain = open_store(folder).runs
    assert plain["rewind"].tolist() == ["", "", "init", 3]
    assert plain["lambda_ppi"].isna().tolist() == [False, True, True, True]
    assert plain.columns.get_loc("rewind") < plain.columns.get_loc("epoch")
    rebuild_index(folder)
    # The index has the columns of runs in the order of their ids, the table without it in that of the plan.
    pd.testing.assert_frame_equal(open_store(folder).runs[plain.columns], plain)


def test_empty_store(make_store: Make) -> None:
    store = open_store(make_store([]))
    assert len(store) == len(store.runs) == 0
    assert (store.runs["status"] == "done").sum() == 0
    assert store.runs["validation_mse"].dtype == np.float64


def test_columns_that_every_table_has(make_store: Make) -> None:
    runs = open_store(make_store(["running"])).runs
    assert runs["validation_mse"].isna().all()
    assert runs["sparsity"].dtype == np.float64


def test_folders_that_are_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        open_store(tmp_path / "nowhere")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match=r"not the output folder of a study, it has no plan\.jsonl"):
        open_store(tmp_path)
    (tmp_path / "x").write_text("x")
    with pytest.raises(StoreError, match="no such folder"):
        open_store(tmp_path / "x")


@pytest.mark.parametrize("text", ["", "{}\n", '{"format": "other"}\n', "\xff"])
def test_damaged_plan_shows_the_runs_and_a_problem(make_store: Make, text: str) -> None:
    folder = make_store(["done", "done"])
    (folder / "plan.jsonl").write_bytes(text.encode("latin-1"))
    store = open_store(folder)
    assert len(store.runs) == 2
    assert any("plan.jsonl" in problem for problem in store.problems)


def test_a_changed_row_of_the_plan_is_told(make_store: Make) -> None:
    """A row that still parses: its id is the hash of another spec."""
    folder = make_store(["done", "pending"])
    path = folder / "plan.jsonl"
    text = path.read_text()
    lines = text.split("\n")
    assert lines[2].count('"hidden":3') == 1
    path.write_text("\n".join([*lines[:2], lines[2].replace('"hidden":3', '"hidden":9'), *lines[3:]]))
    store = open_store(folder)
    assert store.planned == tuple(IDS[:2])
    (problem,) = store.problems
    assert f"plan.jsonl: run {IDS[1]}: its spec belongs to id" in problem
    assert open_store(folder).refresh().problems == (problem,)
    with pytest.raises(StoreError, match="its spec belongs to id"):
        store.spec(IDS[1])
    # Of the run that has a record, the spec is the record's.
    assert store.spec(IDS[0])["model"]["hidden"] == 3
    # In the first line nothing has a hash but the whole.
    path.write_text(text.replace("hand-made", "hand-mode"))
    assert open_store(folder).problems == (
        f"{path}: its checksum differs; give the run command again to write it anew",
    )
    path.write_text(text.replace(lines[2], lines[1]))
    assert "repeats a run" in open_store(folder).problems[0]


def test_a_plan_beyond_ascii_is_whole(make_store: Make, spec: dict[str, Any], tmp_path: Path) -> None:
    folder = make_store([])
    spec["data"] = {"kind": "files", "train": "Übung/γ \u2028.csv"}
    write_plan(folder, [(spec_id(spec), spec)], study="γ", base=tmp_path)
    store = open_store(folder)
    assert store.problems == ()
    assert store.name == "γ"
    assert store.spec(spec_id(spec)) == spec

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dash_hpc.errors import StoreError
from dash_hpc.ids import spec_id
from dash_hpc.store import RunWriter, compact, planned_ids, rebuild_index, run_path, set_aside, verify, write_plan
from dash_hpc.store.index import summary, write_index
from dash_hpc.store.runfile import read_run
from dash_hpc.store.scan import RunFile, scan

Make = Callable[[Sequence[str]], Path]


def texts(folder: Path, kind: str) -> list[str]:
    return [finding.text for finding in verify(folder).findings if finding.kind == kind]


def test_whole_and_complete(make_hashed: Make) -> None:
    folder = make_hashed(["done", "failed", "done"])
    found = verify(folder)
    assert found.findings == []
    assert (found.planned, found.done, found.failed, found.missing, found.extra) == (3, 2, 1, 0, 0)
    assert found.complete
    assert not found.damaged
    assert found.bytes_read > 50_000
    compact(folder)
    assert verify(folder).findings == []
    assert verify(folder).bundles == 1


def test_incomplete_is_not_damage(make_hashed: Make) -> None:
    folder = make_hashed(["done", "running", "pending"])
    found = verify(folder)
    assert not found.damaged
    assert not found.complete
    assert (found.running, found.missing) == (1, 1)
    (text,) = texts(folder, "incomplete")
    assert planned_ids(folder)[2] in text


def test_what_lies_around_is_noted(make_hashed: Make) -> None:
    folder = make_hashed(["done"])
    place = run_path(folder, planned_ids(folder)[0]).parent
    (place / "notes.txt").write_text("mine")
    (place / ".tmp-1-ab.h5").write_text("half")
    os.mkfifo(place / "pipe.h5")
    (place / f"{place.name}{'0' * 14}.h5").symlink_to("/etc/passwd")
    set_aside(_copy(folder / "index.h5"))
    found = verify(folder)
    assert not found.damaged
    notes = texts(folder, "note")
    for what in ("notes.txt: not a run file", ".tmp-1-ab.h5", "pipe.h5", "a symbolic link", "set aside"):
        assert [note for note in notes if what in note], (what, notes)


def _copy(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_name("copy.h5")))


def test_record_under_another_id(make_hashed: Make) -> None:
    folder = make_hashed(["done", "done"])
    one, two = (run_path(folder, run_id) for run_id in planned_ids(folder))
    shutil.copy(one, two)
    assert any("in place of" in text for text in texts(folder, "damage"))


def test_record_whose_spec_has_another_id(make_hashed: Make, spec: dict[str, Any], result: dict[str, Any]) -> None:
    folder = make_hashed(["done"])
    RunWriter(folder, planned_ids(folder)[0], {**spec, "seed": 7}, {}).finish(**result)
    assert any(f"its spec belongs to id {spec_id({**spec, 'seed': 7})}" in text for text in texts(folder, "damage"))


def test_plan_whose_specs_have_other_ids(make_hashed: Make, spec: dict[str, Any], tmp_path: Path) -> None:
    folder = make_hashed(["done"])
    write_plan(folder, [("0" * 16, spec)], study="hand-made", base=tmp_path)
    assert any("plan.jsonl: run 0000000000000000: its spec belongs to id" in text for text in texts(folder, "damage"))


@pytest.mark.parametrize("name", ["plan.jsonl", "study.toml"])
def test_changed_texts(make_hashed: Make, name: str) -> None:
    folder = make_hashed(["done"])
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("hand-made", "hand-mode"))
    assert any(f"{name}: its checksum differs" in finding for finding in texts(folder, "damage"))
    (folder / name).unlink()
    assert any(name in finding for finding in texts(folder, "damage"))


def test_done_run_without_metrics(make_hashed: Make, spec: dict[str, Any], result: dict[str, Any]) -> None:
    folder = make_hashed(["done"])
    RunWriter(folder, planned_ids(folder)[0], {**spec, "seed": 0}, {}).finish(**{**result, "metrics": {}})
    assert any("done, but without network or metrics" in text for text in texts(folder, "damage"))


def test_history_out_of_order(make_hashed: Make, spec: dict[str, Any], result: dict[str, Any]) -> None:
    folder = make_hashed(["done"])
    result["history"]["epoch"] = [2, 1]
    RunWriter(folder, planned_ids(folder)[0], {**spec, "seed": 0}, {}).finish(**result)
    assert any("not in order" in text for text in texts(folder, "damage"))


def test_old_index_is_noted_and_a_wrong_one_is_damage(
    make_hashed: Make, spec: dict[str, Any], result: dict[str, Any]
) -> None:
    folder = make_hashed(["done", "pending"])
    RunWriter(folder, planned_ids(folder)[1], {**spec, "seed": 1}, {}).finish(**result)
    assert any("old for 1 runs" in text for text in texts(folder, "note"))
    assert not verify(folder).damaged
    rebuild_index(folder)
    assert verify(folder).findings == []

    rows: list[tuple[RunFile, dict[str, Any]]] = [(file, summary(read_run(file.path))) for file in scan(folder)[0]]
    rows[0][1]["validation_mse"] = 0.0
    write_index(folder, rows)
    assert any("contradicts the run file; dash-hpc reindex" in text for text in texts(folder, "damage"))
    (folder / "index.h5").write_text("mine")
    assert any("index.h5" in text and "dash-hpc reindex" in text for text in texts(folder, "damage"))


def test_damaged_checkpoint(make_hashed: Make) -> None:
    folder = make_hashed(["running"])
    run_id = planned_ids(folder)[0]
    run_path(folder, run_id).with_name(f"{run_id}.ckpt.h5").write_text("mine")
    assert any(f"{run_id}.ckpt.h5" in text for text in texts(folder, "damage"))


def test_runs_of_an_earlier_plan(make_hashed: Make, spec: dict[str, Any], tmp_path: Path) -> None:
    folder = make_hashed(["done", "done"])
    kept = {**spec, "seed": 1}
    write_plan(folder, [(spec_id(kept), kept)], study="smaller", base=tmp_path)
    found = verify(folder)
    assert (found.planned, found.done, found.extra) == (1, 1, 1)
    assert not found.damaged


def test_planted_pickle_is_never_loaded(make_hashed: Make, tmp_path: Path) -> None:
    """Its bytes stand in place of a run, a checkpoint, the index, a bundle and the plan."""
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "loaded"),)

    bomb = pickle.dumps(Bomb())
    folder = make_hashed(["done", "running"])
    ids = planned_ids(folder)
    (folder / "bundles").mkdir()
    places = [run_path(folder, ids[0]), folder / "bundles" / "x.h5", folder / "index.h5", folder / "plan.jsonl"]
    places.append(run_path(folder, ids[1]).with_name(f"{ids[1]}.ckpt.h5"))
    for place in places:
        place.write_bytes(bomb)
    damage = texts(folder, "damage")
    for place in places:
        assert [text for text in damage if str(place) in text], place
    assert not (tmp_path / "loaded").exists()


def test_folders_that_are_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="not the output folder"):
        verify(tmp_path)

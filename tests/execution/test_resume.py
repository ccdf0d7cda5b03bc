"""Runs that are interrupted, damaged, or contended for: the record is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import dash_hpc
from dash_hpc.errors import StoreError, UsageError
from dash_hpc.execution import run_one, run_study
from dash_hpc.execution.claims.deaths import count_death, deaths_path, read_deaths
from dash_hpc.execution.claims.lease import Lease
from dash_hpc.execution.driver import drive
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.machine.signals import StopFlag
from dash_hpc.execution.work import one_run
from dash_hpc.store import Store, compare_runs, open_store, read_run, run_path
from dash_hpc.store.checkpoint import CheckpointFile, checkpoint_paths, read_checkpoint
from dash_hpc.training import Trainer, phases

Interrupt = Callable[[Path, str, int], str]


def same(whole: Store, folder: Path, run_id: str) -> list[str]:
    return compare_runs(run_path(whole.folder, run_id), run_path(folder, run_id))


def first_of_each(whole: Store) -> dict[str, str]:
    names = whole.runs["strategy"]
    return {name: names[names == name].index[0] for name in names.unique()}


def test_interrupted_after_every_epoch(whole: Store, planned: Path, interrupt: Interrupt) -> None:
    for name, run_id in first_of_each(whole).items():
        for epochs in range(1, 7):
            assert interrupt(planned, run_id, 1) == "stopped"
            record = read_run(run_path(planned, run_id))
            assert (record.status, record.epochs) == ("running", epochs)
            assert max(read_checkpoint(path).epoch for path in checkpoint_paths(planned, run_id) if path.exists()) == (
                epochs
            )
        assert run_one(str(planned), run_id) == "done"
        assert same(whole, planned, run_id) == [], name
        assert [step["epoch"] for step in open_store(planned).provenance(run_id)["resumed"]] == list(range(1, 7))
        assert not any(path.exists() for path in checkpoint_paths(planned, run_id))
        assert list((planned / "lease").rglob(f"{run_id}*")) == []


def test_checkpoints_of_a_worker_killed_after_the_end_of_its_run_go_with_the_next_call(
    whole: Store, planned: Path, interrupt: Interrupt
) -> None:
    """Killed between its last record and the removal: the campaign found them left where no driver looks after."""
    run_id = whole.planned[0]
    assert interrupt(planned, run_id, 2) == "stopped"
    left = [(path, path.read_bytes()) for path in checkpoint_paths(planned, run_id) if path.exists()]
    assert run_one(str(planned), run_id) == "done"
    for path, content in left:
        path.write_bytes(content)
    record = run_path(planned, run_id).read_bytes()
    assert left
    assert run_one(str(planned), run_id) == "done"
    assert not any(path.exists() for path in checkpoint_paths(planned, run_id))
    assert run_path(planned, run_id).read_bytes() == record


def test_asked_before_it_begins_it_advances_by_an_epoch(
    whole: Store, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = whole.planned[0]
    flag = StopFlag()
    flag.set("SIGTERM")
    monkeypatch.setattr(one_run, "process_flag", lambda: flag)
    for epoch in range(1, 7):
        assert run_one(str(planned), run_id) == "stopped"
        assert CheckpointFile(planned, run_id).load().epoch == epoch  # type: ignore[union-attr]
    assert run_one(str(planned), run_id) == "done"
    assert same(whole, planned, run_id) == []


def test_a_done_run_is_left_alone(whole: Store, planned: Path) -> None:
    run_id = whole.planned[0]
    run_path(planned, run_id).parent.mkdir()
    shutil.copy(run_path(whole.folder, run_id), run_path(planned, run_id))
    before = run_path(planned, run_id).stat().st_mtime_ns
    assert run_one(str(planned), run_id) == "done"
    assert run_path(planned, run_id).stat().st_mtime_ns == before


def test_a_part_leaves_the_damaged_files_of_others_alone(whole: Store, planned: Path) -> None:
    paths = [run_path(planned, run_id) for run_id in whole.planned[:2]]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("dash-hpc run\n")
    run_study(whole.folder / "study.toml", output=planned, workers=1, progress="none", part=(1, 8))
    assert [path.with_name(f"{path.name}.damaged-1").exists() for path in paths] == [True, False]
    assert paths[1].read_text() == "dash-hpc run\n"


def test_damaged_checkpoints_are_set_aside(
    whole: Store, planned: Path, interrupt: Interrupt, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = first_of_each(whole)["dash"]
    for _ in range(3):
        interrupt(planned, run_id, 1)
    newest = max((path for path in checkpoint_paths(planned, run_id)), key=lambda path: read_checkpoint(path).epoch)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    study = whole.folder / "study.toml"
    store = run_study(study, output=planned, workers=1, progress="plain")
    assert newest.with_name(f"{newest.name}.damaged-1").read_bytes() == data
    assert store.provenance(run_id)["resumed"][-1]["epoch"] == 2
    assert same(whole, planned, run_id) == []
    error = capfd.readouterr().err
    assert f"run {run_id}: {newest}: damaged, its checksum differs; it is now {newest.name}.damaged-1" in error
    assert "the run goes on after epoch 2" in error


def test_without_any_good_checkpoint_the_run_begins_again(whole: Store, planned: Path, interrupt: Interrupt) -> None:
    run_id = first_of_each(whole)["imp"]
    interrupt(planned, run_id, 2)
    interrupt(planned, run_id, 2)
    for path in checkpoint_paths(planned, run_id):
        path.write_bytes(path.read_bytes()[:-100])
    note = one_run.run_noted(str(planned), run_id)
    assert note["status"] == "done"
    assert ["truncated" in text for text in note["notes"]] == [True, True]
    assert same(whole, planned, run_id) == []
    assert len(list(planned.glob("runs/*/*.damaged-1"))) == 2


def test_a_checkpoint_of_another_model_is_set_aside(whole: Store, planned: Path, interrupt: Interrupt) -> None:
    run_id = first_of_each(whole)["dash"]
    interrupt(planned, run_id, 2)
    file = CheckpointFile(planned, run_id)
    stored = file.load()
    assert stored is not None
    file.save(5, {**stored.facts, "hidden": 99}, stored.arrays, {})
    assert run_one(str(planned), run_id) == "done"
    assert same(whole, planned, run_id) == []
    assert len(list(planned.glob("runs/*/*.damaged-1"))) == 1


def test_no_reader_sees_fewer_epochs_than_before(whole: Store, planned: Path, interrupt: Interrupt) -> None:
    run_id = whole.planned[0]
    interrupt(planned, run_id, 5)
    for path in checkpoint_paths(planned, run_id):
        path.unlink(missing_ok=True)  # killed before the first checkpoint, after the history was published
    assert interrupt(planned, run_id, 2) == "stopped"
    assert read_run(run_path(planned, run_id)).epochs == 5
    assert run_one(str(planned), run_id) == "done"
    assert same(whole, planned, run_id) == []


def test_full_disk_at_a_checkpoint_stops_and_goes_on(
    whole: Store, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = first_of_each(whole)["dash"]

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("cannot write x: No space left on device") from OSError(28, "No space left on device")

    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "0")
    with monkeypatch.context() as patch:
        patch.setattr("dash_hpc.store.checkpoint.publish_bytes", refuse)
        with pytest.raises(StoreError, match="No space"):
            run_one(str(planned), run_id)
    assert read_run(run_path(planned, run_id)).status == "running"
    assert run_one(str(planned), run_id) == "done"
    assert same(whole, planned, run_id) == []


def test_a_run_that_another_process_holds(whole: Store, planned: Path, tmp_path: Path) -> None:
    run_id = whole.planned[0]
    lease = Lease(planned, run_id)
    assert lease.acquire() is None
    note = one_run.run_noted(str(planned), run_id)
    assert note["status"] == "held"
    assert f"process {os.getpid()} on" in note["notes"][0]
    assert not run_path(planned, run_id).exists()

    def release_soon(folder: str, run: str) -> dict[str, Any]:
        answer = one_run.run_noted(folder, run)
        lease.release()
        return answer

    lines: list[str] = []
    with ThreadPoolExecutor(1) as executor:
        journal = Journal(tmp_path / "driver.log", lines.append)
        drive(planned, [run_id], executor, window=1, journal=journal, call=release_soon)
    assert same(whole, planned, run_id) == []
    assert sum("is at it" in text for text in lines) == 1


def test_a_holder_that_lost_its_lease_writes_no_more(
    whole: Store, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = whole.planned[0]
    validate = phases.validate

    def taken_over(trainer: Trainer, epoch: int, *rest: Any) -> Any:
        if epoch == 3:
            (path,) = (planned / "lease").rglob(f"{run_id}.*.lease")
            shutil.copy(path, path.with_name(f"{run_id}.000009.lease"))
        return validate(trainer, epoch, *rest)

    monkeypatch.setattr(phases, "validate", taken_over)
    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "0")
    note = one_run.run_noted(str(planned), run_id)
    assert note["status"] == "held"
    assert "given up: lease" in note["notes"][-1]
    assert read_run(run_path(planned, run_id)).epochs == 0
    assert max(read_checkpoint(path).epoch for path in checkpoint_paths(planned, run_id)) == 2


def test_deaths_are_counted_across_restarts(whole: Store, planned: Path, tmp_path: Path) -> None:
    run_id = whole.planned[0]
    lease = Lease(planned, run_id)
    assert lease.acquire() is None
    for place, tries in (("epoch 3", 1), ("epoch 3", 2), ("epoch 9", 1), ("epoch 9", 2)):
        lease.note(place)
        assert count_death(planned, run_id, "killed by SIGKILL").tries == tries
    assert not read_deaths(planned, run_id).too_many
    assert read_deaths(planned, run_id).stuck == 4
    count_death(planned, run_id, "killed by SIGKILL")
    lease.release()

    lines: list[str] = []
    journal = Journal(tmp_path / "driver.log", lines.append)
    with ThreadPoolExecutor(1) as executor:
        drive(planned, [run_id], executor, window=1, journal=journal)
        assert not run_path(planned, run_id).exists()
        assert "stays set aside, its worker died 3 times (killed by SIGKILL); to try it again, remove" in lines[0]
        deaths_path(planned, run_id).unlink()
        drive(planned, [run_id], executor, window=1, journal=journal)
    assert same(whole, planned, run_id) == []


def test_deaths_everywhere_without_progress_are_too_many(whole: Store, planned: Path) -> None:
    run_id = whole.planned[0]
    lease = Lease(planned, run_id)
    assert lease.acquire() is None
    for k in range(10):
        assert not read_deaths(planned, run_id).too_many
        lease.note(f"epoch {k}")
        count_death(planned, run_id, "killed by SIGKILL")
    assert read_deaths(planned, run_id).too_many
    lease.release()
    deaths_path(planned, run_id).write_text("{nonsense")
    assert read_deaths(planned, run_id).tries == 0


def test_nothing_is_handed_out_after_a_request_to_stop(whole: Store, planned: Path, tmp_path: Path) -> None:
    flag, order, asked = StopFlag(), [], []

    def call(folder: str, run_id: str) -> str:
        order.append(run_id)
        flag.set("SIGUSR1")
        return "stopped"

    lines: list[str] = []
    with ThreadPoolExecutor(1) as executor:
        journal = Journal(tmp_path / "driver.log", lines.append)
        drive(planned, whole.planned, executor, window=1, journal=journal, call=call, stop=flag, on_stop=asked.append)
    assert order == [whole.planned[0]]
    assert asked == ["SIGUSR1"]
    assert "SIGUSR1: no new runs" in lines[0]


def test_asked_before_the_first_run_one_window_begins(whole: Store, planned: Path, tmp_path: Path) -> None:
    flag, order = StopFlag(), []
    flag.set("SIGTERM")

    def call(folder: str, run_id: str) -> str:
        order.append(run_id)
        return "stopped"

    with ThreadPoolExecutor(1) as executor:
        drive(planned, whole.planned, executor, window=2, journal=Journal(tmp_path / "log"), call=call, stop=flag)
    assert order == list(whole.planned[:2])


def start(study: Path, output: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "dash_hpc", "run", str(study), "--output", str(output), "--workers", "2", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def test_ctrl_c_for_the_group_second_driver_and_resumption(
    tiny_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long way round: signal to the whole group, a second driver meanwhile, the same command to the end."""
    study, output = tmp_path / "long.toml", tmp_path / "out"
    study.write_text(tiny_text.replace("epochs = 4", "epochs = 100000"))
    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "1000")
    process = start(study, output)
    wait_for("runs/*/*.h5", output, process)
    second = start(study, output)
    out, error = second.communicate(timeout=120)
    assert (second.returncode, out) == (2, "")
    assert error.startswith(f"dash-hpc: error: {output}: process {process.pid} on ")
    assert error.count("\n") == 1

    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "dash-hpc: SIGINT: interrupted with 0 of 4 runs done; the same command goes on from there\n" in error
    # The runs under way made a checkpoint when they were asked, not by the clock.
    epochs = {path.name.split(".")[0]: read_checkpoint(path).epoch for path in output.glob("runs/*/*.ckpt.h5")}
    assert len(epochs) == 2
    assert {run_id: open_store(output).record(run_id).epochs for run_id in epochs} == epochs

    # The second signal leaves at once, in the middle of an epoch if need be.
    stamps = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/*.h5")}
    process = start(study, output)
    deadline = time.monotonic() + 120
    while stamps == {path: path.stat().st_mtime_ns for path in stamps} and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=120)
    assert process.returncode == 3


def test_checkpoint_left_by_a_worker_killed_at_the_end_is_removed(
    whole: Store, planned: Path, interrupt: Interrupt
) -> None:
    run_id, other = whole.planned[:2]
    interrupt(planned, run_id, 2)
    interrupt(planned, other, 2)
    (left,) = [path for path in checkpoint_paths(planned, run_id) if path.exists()]
    data = left.read_bytes()
    assert run_one(str(planned), run_id) == "done"
    assert not left.exists()
    left.write_bytes(data)
    study = whole.folder / "study.toml"
    run_study(study, output=planned, workers=1, progress="none", part=(1, len(whole.planned)))
    assert not left.exists()
    assert any(path.exists() for path in checkpoint_paths(planned, other))  # of a run that is not done


def test_fresh_start_moves_what_is_there(tiny: Path, tmp_path: Path) -> None:
    output, former = tmp_path / "out", tmp_path / "former"
    changes = ["training.epochs=2", "sweep.seeds=[0]"]
    run_study(tiny, output=output, workers=1, progress="none", overrides=changes, fresh=True)
    names = sorted(path.name for path in output.rglob("*.h5"))
    with pytest.raises(UsageError, match=r"not empty; say where to move it with --move-to"):
        run_study(tiny, output=output, progress="none", overrides=changes, fresh=True)
    with pytest.raises(UsageError, match="exists already"):
        run_study(tiny, output=output, progress="none", overrides=changes, fresh=True, move_to=tmp_path)
    with pytest.raises(UsageError, match="move_to belongs to fresh"):
        run_study(tiny, output=output, progress="none", overrides=changes, move_to=former)
    run_study(tiny, output=output, workers=1, progress="none", overrides=changes, fresh=True, move_to=former)
    assert sorted(path.name for path in former.rglob("*.h5")) == names == sorted(p.name for p in output.rglob("*.h5"))
    assert json.loads((former / "plan.jsonl").read_text().splitlines()[0])["runs"] == 2


def test_wrong_seconds_are_one_line(whole: Store, planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("-1", "often", "nan"):
        monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", wrong)
        with pytest.raises(UsageError, match="DASH_HPC_CHECKPOINT_SECONDS must be a number of seconds"):
            run_one(str(planned), whole.planned[0])

"""Whole studies of a 12-gene simulation, through real worker processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import dash_hpc
from dash_hpc.errors import RunFailed, StudyError, UsageError
from dash_hpc.execution import LocalExecutor, run_one, run_study
from dash_hpc.execution.driver import drive
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.store import RunWriter, Store, compare_runs, open_store, run_path, write_plan
from dash_hpc.study import load_study, plan


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Store:
    """The tiny study, done by two workers. Tests work on copies."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(tiny_text)
    return run_study(folder / "tiny.toml", output=folder / "out", workers=2, progress="none")


@pytest.fixture
def planned(whole: Store, tmp_path: Path) -> Path:
    """A store with the same plan and no runs."""
    folder = tmp_path / "out"
    shutil.copytree(whole.folder, folder, ignore=shutil.ignore_patterns("runs", "index.h5"))
    (folder / "runs").mkdir()
    return folder


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*.h5")}


def test_results_are_bit_identical_for_any_number_of_workers(tiny: Path, tmp_path: Path, whole: Store) -> None:
    one = run_study(tiny, output=tmp_path / "one", workers=1, progress="none")
    assert one.runs["status"].tolist() == whole.runs["status"].tolist() == ["done"] * 4
    assert one.runs["strategy"].tolist() == ["none", "none", "dash", "dash"]
    for run_id in whole.planned:
        assert compare_runs(run_path(one.folder, run_id), run_path(whole.folder, run_id)) == []
    # Alone, in this process, which may have more threads and other data in its cache.
    last = one.planned[-1]
    run_path(one.folder, last).unlink()
    assert run_one(str(one.folder), last) == "done"
    assert compare_runs(run_path(one.folder, last), run_path(whole.folder, last)) == []

    record = one.record(last)
    assert (record.epochs, record.spec["strategy"]["name"], record.spec["seed"]) == (4, "dash", 1)
    assert one.events(last)["tensor"].nunique() == len(one.events(last)) == 4
    sparsity = one.history(last)["sparsity"]
    assert sparsity.iloc[0] < 0.5 < sparsity.iloc[-1]
    assert {"validation_mse", "test_mse", "balanced_accuracy", "control_prior_ba"} <= record.metrics.keys()
    assert record.provenance["threads"] == 1
    assert {"dash_hpc", "git", "python", "numpy", "torch", "h5py", "hdf5", "native", "host", "cpu", "command"} <= (
        record.provenance.keys()
    )
    assert record.provenance["started"] <= record.provenance["ended"]


def test_only_what_is_not_done_is_repeated(
    tiny: Path, whole: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole.folder, folder)
    damaged, failed, *finished = whole.planned
    path = run_path(folder, damaged)
    broken = path.read_bytes()[:-10]
    path.write_bytes(broken)
    RunWriter(folder, failed, whole.spec(failed), {}).fail("last time")
    before = stamps(folder)
    store = run_study(tiny, output=folder, workers=1, progress="plain")
    assert store.counts()["done"] == 4
    after = stamps(folder)
    assert [before[f"{run_id}.h5"] == after[f"{run_id}.h5"] for run_id in store.planned] == [False, False, True, True]
    assert path.with_name(f"{path.name}.damaged-1").read_bytes() == broken
    for run_id in whole.planned:
        assert compare_runs(run_path(folder, run_id), run_path(whole.folder, run_id)) == []
    error = capfd.readouterr().err
    assert f"tiny: 4 runs into {folder}, 1 worker, 2 done before" in error
    assert "truncated" in error
    assert "4 of 4 runs done, 0 running, 0 failed, 0 waiting, best validation MSE" in error
    log = (folder / "log" / "driver.log").read_text()
    assert log.count(f"run {damaged}: done\n") == 2
    assert log.count(f"run {finished[0]}: done\n") == 1

    # All is done now: the resolved study gives the same plan, and no worker starts.
    again = run_study(folder / "study.toml", output=folder, progress="plain")
    assert again.planned == whole.planned
    assert stamps(folder) == after
    assert "worker" not in capfd.readouterr().err


def test_failing_run_is_recorded_and_others_are_untouched(
    planned: Path, whole: Store, tmp_path: Path, functions: Any
) -> None:
    (tmp_path / "fails").write_text("\n".join(whole.planned[1:3]))
    with LocalExecutor(1, planned / "log") as executor:
        journal = Journal(planned / "log" / "driver.log")
        drive(planned, whole.planned, executor, window=1, journal=journal, call=functions.fail_some)
    store = open_store(planned)
    assert store.runs["status"].tolist() == ["done", "failed", "failed", "done"]
    bug, diverged = (store.record(run_id) for run_id in store.planned[1:3])
    assert bug.reason == "ZeroDivisionError: a bug on two lines"
    assert diverged.reason == "epoch 3, validation pair 0: the step became too small"
    assert diverged.complete
    assert diverged.epochs == 2
    assert "in failing" in diverged.provenance["traceback"]
    assert "ZeroDivisionError" in (planned / "log" / "worker-0.log").read_text()
    for run_id in (store.planned[0], store.planned[3]):
        assert compare_runs(run_path(planned, run_id), run_path(whole.folder, run_id)) == []


def test_run_that_kills_its_worker(planned: Path, whole: Store, tmp_path: Path, functions: Any) -> None:
    poisoned, unlucky = whole.planned[0], whole.planned[2]
    (tmp_path / f"deaths-{poisoned}").write_text("99")
    (tmp_path / f"deaths-{unlucky}").write_text("1")
    with LocalExecutor(2, planned / "log") as executor:
        journal = Journal(planned / "log" / "driver.log")
        drive(planned, whole.planned, executor, window=2, journal=journal, call=functions.crash_some)
    assert (tmp_path / f"deaths-{poisoned}").read_text() == "96"
    assert (tmp_path / f"deaths-{unlucky}").read_text() == "0"
    store = open_store(planned)
    assert store.runs["status"].tolist() == ["failed", "done", "done", "done"]
    reason = store.record(poisoned).reason
    assert "exit code 7 at epoch 1; so it went 3 times and the run was set aside; to try it again" in reason
    for run_id in store.planned[1:]:
        assert compare_runs(run_path(planned, run_id), run_path(whole.folder, run_id)) == []


def test_interrupted_study_goes_on_with_the_same_command(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    program = (
        "import sys, dash_hpc\n"
        "from dash_hpc.errors import Interrupted\n"
        "try:\n"
        "    dash_hpc.run_study(sys.argv[1], output=sys.argv[2], workers=2, progress='none',\n"
        "                       overrides=['training.epochs=100000', 'sweep.seeds=0..3'])\n"
        "except Interrupted as error:\n"
        "    print(error, flush=True)\n"
        "    sys.exit(error.exit_code)\n"
    )
    # A script on standard input without a main guard: workers must not need to import it.
    process = subprocess.Popen(
        [sys.executable, "-", str(tiny), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1])},
    )
    assert process.stdin is not None
    process.stdin.write(program)
    process.stdin.close()
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/*/*.h5")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.wait(60) == 3
    assert "interrupted with 0 of 8 runs done; the same command goes on" in output
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    store = open_store(folder)
    assert store.problems == ()
    assert set(store.runs["status"]) == {"running"}


def test_ode_that_cannot_be_solved_is_a_failed_run_with_the_reason(tiny: Path, tmp_path: Path) -> None:
    study = load_study(tiny, ["solver.max_steps=1"])
    runs = plan(study, "")
    write_plan(tmp_path / "out", [(run.id, run.spec) for run in runs], study=study.name, base=study.base)
    assert run_one(str(tmp_path / "out"), runs[0].id) == "failed"
    record = open_store(tmp_path / "out").record(runs[0].id)
    assert record.complete
    assert record.reason.startswith("epoch 1, batch ")
    assert "steps" in record.reason


def test_changed_data_fail_the_run(tmp_path: Path) -> None:
    from dash_hpc.execution.work import one_run

    with pytest.raises(RunFailed, match="data files have changed"):
        one_run._dataset('{"kind":"simulate"}', 0, str(tmp_path), "0" * 64)


def test_output_folder_with_other_files_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not empty \(tiny\.toml\) and not the output of a study"):
        run_study(tiny, output=tmp_path, progress="none")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
    with pytest.raises(UsageError, match="a file of this name is in the way"):
        run_study(tiny, output=tiny, progress="none")


def test_wrong_calls(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="workers must be 1 or more, got 0"):
        run_study(tiny, output=tmp_path / "out", workers=0)
    with pytest.raises(UsageError, match="overrides belong to a study file"):
        run_study(load_study(tiny), output=tmp_path / "out", overrides=["sweep.seeds=[0]"])
    with pytest.raises(StudyError, match="no such study file"):
        run_study(tmp_path / "none.toml", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""Runs side by side in one worker: the records are those of the runs alone, whatever happens to one of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dash_hpc.errors import StoreError
from dash_hpc.execution import LocalExecutor, driver, run_one, run_study
from dash_hpc.execution.claims.lease import Lease
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.packing import Packing
from dash_hpc.execution.study_run import prepare
from dash_hpc.execution.work import many_runs
from dash_hpc.execution.work.many_runs import run_pack
from dash_hpc.ids import spec_id
from dash_hpc.store import Store, compare_runs, find_record, open_store, run_path, write_plan
from dash_hpc.store.checkpoint import checkpoint_paths, read_checkpoint
from dash_hpc.study import load_study, plan
from dash_hpc.training import Trainer, phases

EPOCHS = 6
#: Of the runs of the fixture, in the order of their plan.
STATUSES = [*["done"] * 6, "failed", "done"]

FUNCTIONS = '''
import os
from pathlib import Path

import dash_hpc.training as training
from dash_hpc.execution.work.many_runs import run_pack


def pack(folder, run_ids, device, threads):
    """Kill this process in the runs that <folder>/../kill names by seed and strategy, as often as it says."""
    orders = Path(folder).parent / "kill"
    strategy, seed, epoch, left = orders.read_text().split()
    whole = training.Trainer

    class Dying(whole):
        def __init__(self, dataset, spec, progress):
            def look(fit):
                progress(fit)
                if (spec["strategy"]["name"], spec["seed"], fit.epoch) == (strategy, int(seed), int(epoch)):
                    left = int(orders.read_text().split()[-1])
                    if left:
                        orders.write_text(f"{strategy} {seed} {epoch} {left - 1}")
                        os.kill(os.getpid(), 9)
            super().__init__(dataset, spec, look)

    training.Trainer = Dying
    try:
        return run_pack(folder, run_ids, device, threads)
    finally:
        training.Trainer = whole
'''


class StopsAtLook:
    """A flag that is set when the pack looks for the n-th time: before its n-th epoch."""

    def __init__(self, number: int) -> None:
        self.left = number

    def is_set(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Store:
    """Eight runs, each executed alone: four strategies, an early stop, a shorter one, one that fails, and one that is
    computed in its only epoch.
    """
    folder = tmp_path_factory.mktemp("alone")
    text = tiny_text.replace("epochs = 4", f"epochs = {EPOCHS}") + '[[strategy]]\nname = "imp"\nrewind = 1\n'
    text += '[[strategy]]\nname = "structured"\n[[strategy]]\nname = "evidence"\n'
    (folder / "tiny.toml").write_text(text)
    study = load_study(folder / "tiny.toml")
    *specs, computed = [run.spec for run in plan(study, "") if run.spec["seed"] == 0]
    none = next(spec for spec in specs if spec["strategy"]["name"] == "none")
    for change in ({"early_stop": 1, "lr": 0.5}, {"epochs": 2}, {"lr": 1e20}):
        specs.append({**none, "training": {**none["training"], **change}})
    specs.append(computed)
    pairs = [(spec_id(spec), spec) for spec in specs]
    write_plan(folder / "out", pairs, study=study.name, base=study.base)
    for run_id, _ in pairs:
        run_one(str(folder / "out"), run_id)
    store = open_store(folder / "out")
    assert [store.status(run_id) for run_id in store.planned] == STATUSES
    assert store.record(store.planned[4]).epochs < EPOCHS
    return store


@pytest.fixture
def planned(alone: Store, tmp_path: Path) -> Path:
    """A store with the same plan and no runs."""
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(alone.folder / "plan.jsonl", folder)
    return folder


def same(alone: Store, folder: Path, *run_ids: str) -> bool:
    differences = {
        run_id: compare_runs(run_path(alone.folder, run_id), run_path(folder, run_id))
        for run_id in run_ids or alone.planned
    }
    assert not any(differences.values()), differences
    return True


def statuses(answer: dict[str, Any]) -> list[str]:
    return [own["status"] for own in answer["runs"].values()]


@pytest.mark.parametrize("threads", [1, 2])
def test_each_record_is_that_of_the_run_alone(alone: Store, planned: Path, threads: int) -> None:
    answer = run_pack(str(planned), alone.planned, "cpu", threads)
    assert list(answer["runs"]) == list(alone.planned)
    assert statuses(answer) == STATUSES
    assert answer["notes"] == []
    assert same(alone, planned)
    made = open_store(planned).provenance(alone.planned[0])
    assert (made["device"], made["side_by_side"]) == ("cpu", 8)
    assert sorted(path.name for path in planned.rglob("*.ckpt.h5")) == []
    # Done runs are left alone, and the failed one is tried again.
    before = {run_id: run_path(planned, run_id).stat().st_mtime_ns for run_id in alone.planned}
    assert statuses(run_pack(str(planned), alone.planned)) == STATUSES
    changed = [run_id for run_id in before if run_path(planned, run_id).stat().st_mtime_ns != before[run_id]]
    assert changed == [alone.planned[6]]


def test_a_request_to_stop_reaches_all_at_the_same_epoch(
    alone: Store, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ones = alone.planned[:4]
    for looks, epoch in ((1, 1), (3, 3)):  # asked before the start: an epoch is trained; then two more, and stop
        with monkeypatch.context() as patch:
            flag = StopsAtLook(looks)
            patch.setattr(many_runs, "process_flag", lambda flag=flag: flag)
            assert statuses(run_pack(str(planned), long_ones)) == ["stopped"] * 4
        for run_id in long_ones:
            epochs = [read_checkpoint(path).epoch for path in checkpoint_paths(planned, run_id) if path.exists()]
            assert max(epochs) == epoch
    assert statuses(run_pack(str(planned), long_ones)) == ["done"] * 4
    assert same(alone, planned, *long_ones)
    assert [step["epoch"] for step in open_store(planned).provenance(long_ones[0])["resumed"]] == [1, 3]


def test_runs_that_others_hold_or_take_over_leave_the_pack(
    alone: Store, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, lost = alone.planned[0], alone.planned[1]
    lease = Lease(planned, held)
    assert lease.acquire() is None
    validate = phases.validate

    def taken_over(trainer: Trainer, epoch: int, *rest: Any) -> Any:
        if epoch == 3 and trainer.strategy.name == "dash":
            (path,) = (planned / "lease").rglob(f"{lost}.*.lease")
            shutil.copy(path, path.with_name(f"{lost}.000009.lease"))
        return validate(trainer, epoch, *rest)

    monkeypatch.setattr(phases, "validate", taken_over)
    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "0")
    assert alone.record(lost).spec["strategy"]["name"] == "dash"
    answer = run_pack(str(planned), alone.planned)
    assert statuses(answer) == ["held", "held", *STATUSES[2:]]
    assert "is at it" in answer["runs"][held]["notes"][0]
    assert "given up: lease" in answer["runs"][lost]["notes"][0]
    lease.release()
    assert same(alone, planned, *alone.planned[2:])


def test_a_disk_that_refuses_ends_the_pack_and_no_run_is_recorded_as_failed(
    alone: Store, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dash_hpc.store.checkpoint as checkpoint

    real, bad = checkpoint.publish_bytes, alone.planned[2]

    def refuse(path: Path, *rest: Any, **options: Any) -> None:
        if bad in path.name:
            raise StoreError("cannot write x: No space left on device") from OSError(28, "No space left on device")
        real(path, *rest, **options)

    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "0")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "publish_bytes", refuse)
        with pytest.raises(StoreError, match="No space"):
            run_pack(str(planned), alone.planned[:4])
    for run_id in alone.planned[:4]:
        record = find_record(planned, run_id)
        assert record is not None
        assert record.status == "running"
        held = Lease(planned, run_id).look()
        assert held is not None
        assert held.free
    assert statuses(run_pack(str(planned), alone.planned[:4])) == ["done"] * 4
    assert same(alone, planned, *alone.planned[:4])


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the functions above, importable in worker processes."""
    import importlib
    import sys

    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "deadly_functions.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("deadly_functions")
    sys.modules.pop("deadly_functions", None)


def drive(planned: Path, run_ids: tuple[str, ...], call: Any, orders: str) -> list[str]:
    (planned.parent / "kill").write_text(orders)
    lines: list[str] = []
    journal = Journal(planned / "driver.log", lambda line: lines.append(line[27:]))
    with LocalExecutor(1) as executor:
        packing = Packing(size=8)
        driver.drive(planned, run_ids, executor, window=1, journal=journal, packing=packing, pack_call=call)
    return lines


def test_after_a_killed_worker_all_runs_end_with_the_same_bits(
    alone: Store, planned: Path, deadly: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "0")
    lines = drive(planned, alone.planned, deadly.pack, "dash 0 4 1")
    assert same(alone, planned)
    told = [line for line in lines if "side by side" in line]
    assert len(told) == 1
    # Three were done by then; the one that had failed is tried again.
    assert told[0].endswith(
        "was killed by SIGKILL, often for lack of memory, at 8 runs side by side; "
        "the 5 open ones are tried again in halves"
    )
    assert not any("try 1 of 3" in line for line in lines)
    resumed = open_store(planned).provenance(alone.planned[1])["resumed"]
    assert [step["epoch"] for step in resumed] == [3]


def test_a_run_that_kills_its_worker_is_found_and_set_aside_alone(alone: Store, planned: Path, deadly: Any) -> None:
    lines = drive(planned, alone.planned, deadly.pack, "dash 0 2 99")
    (bad,) = [run_id for run_id in alone.planned if alone.record(run_id).spec["strategy"]["name"] == "dash"]
    store = open_store(planned)
    assert store.status(bad) == "failed"
    assert "was killed by SIGKILL" in store.record(bad).reason
    assert "3 times and the run was set aside" in store.record(bad).reason
    assert same(alone, planned, *(run_id for run_id in alone.planned if run_id != bad))
    assert sum("side by side" in line for line in lines) == 3  # 8, 4 and 2 runs; then alone
    assert sum(f"run {bad}: " in line and "of 3)" in line for line in lines) == 3
    # A new start hands the suspect out alone.
    assert driver._units(planned, alone.planned[:3], Journal(planned / "log"), Packing(size=3), 1) == [
        (alone.planned[0], alone.planned[2])
    ]


def test_runs_of_one_seed_share_their_data(tiny_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six seeds, twice each in the order of a plan: more data sets than the cache of those not in use holds."""
    import dash_hpc.data as data

    built = []
    real = data.build

    def counted(spec: Any, **options: Any) -> Any:
        built.append(options["seed"])
        return real(spec, **options)

    (tmp_path / "six.toml").write_text(tiny_text.replace("epochs = 4", "epochs = 1").replace("[0, 1]", '"10..15"'))
    ids = prepare(load_study(tmp_path / "six.toml"), tmp_path / "out")
    monkeypatch.setattr(data, "build", counted)
    assert statuses(run_pack(str(tmp_path / "out"), ids)) == ["done"] * 12
    assert built == [10, 11, 12, 13, 14, 15]


def test_ctrl_c_stops_a_packed_study_at_one_epoch(tiny_text: str, tmp_path: Path) -> None:
    study, output = tmp_path / "long.toml", tmp_path / "out"
    study.write_text(tiny_text.replace("epochs = 4", "epochs = 100000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "dash_hpc", "run", study, "--output", output, "--workers", "1", "--pack", "4"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DASH_HPC_CHECKPOINT_SECONDS": "1000"},
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(output.glob("runs/*/*.h5"))) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "SIGINT: interrupted with 0 of 4 runs done; the same command goes on from there" in error
    last: dict[str, int] = {}  # of two files a run, one after a pruning event
    for path in output.glob("runs/*/*.ckpt.h5"):
        run_id = path.name.split(".")[0]
        last[run_id] = max(last.get(run_id, 0), read_checkpoint(path).epoch)
    assert len(last) == 4
    assert len(set(last.values())) == 1


def test_packs_are_even_and_leave_no_worker_idle() -> None:
    ids = [f"{k}" for k in range(11)]

    def sizes(size: int, workers: int, count: int = 11) -> list[int]:
        packs = Packing(size).packs(ids[:count], workers)
        assert [run_id for pack in packs for run_id in pack] == ids[:count]
        return [len(pack) for pack in packs]

    assert sizes(1, 4) == [1] * 11
    assert sizes(8, 1) == [5, 6]
    assert sizes(256, 1) == [11]
    assert sizes(8, 4) == [2, 3, 3, 3]
    assert sizes(8, 4, 2) == [1, 1]
    assert Packing(8).packs([], 3) == []


def test_a_whole_study_in_packs(tiny: Path, tmp_path: Path) -> None:
    one = run_study(tiny, output=tmp_path / "one", workers=1, progress="none")
    packed = run_study(tiny, output=tmp_path / "packed", workers=1, pack=3, progress="none")
    for run_id in one.planned:
        assert compare_runs(run_path(one.folder, run_id), run_path(packed.folder, run_id)) == []
    log = (packed.folder / "log" / "driver.log").read_text()
    assert "4 runs into" in log
    assert "1 worker, up to 3 runs side by side in each\n" in log
    assert open_store(packed.folder).provenance(one.planned[0])["side_by_side"] == 2

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dash_hpc.errors import StoreError, WorkerDied
from dash_hpc.execution.driver import drive
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.ids import spec_id
from dash_hpc.store import RunWriter, open_store, planned_spec, write_plan

SPECS = [{"seed": k, "strategy": {"name": "none"}, "training": {"epochs": 3}} for k in range(5)]
IDS = [spec_id(spec) for spec in SPECS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_plan(tmp_path / "out", list(zip(IDS, SPECS, strict=True)), study="fake", base=tmp_path)
    return tmp_path / "out"


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Any executor will do: this one has threads."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def begin(folder: str, run_id: str) -> RunWriter:
    writer = RunWriter(folder, run_id, planned_spec(folder, run_id), {"host": "worker"}, interval=0.0)
    writer.begin()
    return writer


def test_a_message_of_the_journal_is_one_line(tmp_path: Path) -> None:
    lines: list[str] = []
    Journal(tmp_path / "driver.log", lines.append).write("runs into odd\n2026-01-01  run 0: done")
    assert len(lines) == 1
    assert lines[0].endswith("runs into odd\\n2026-01-01  run 0: done")
    assert (tmp_path / "driver.log").read_text() == lines[0] + "\n"


def test_runs_start_in_the_order_of_the_plan(folder: Path, executor: ThreadPoolExecutor) -> None:
    order: list[str] = []

    def call(folder: str, run_id: str) -> str:
        order.append(run_id)
        begin(folder, run_id).fail("as asked")
        return "failed"

    ticks: list[tuple[str, ...]] = []
    lines: list[str] = []
    journal = Journal(folder / "driver.log", lines.append)
    drive(folder, IDS, executor, window=2, journal=journal, tick=lambda a: ticks.append(tuple(a)), call=call)
    assert order == IDS
    assert max(map(len, ticks)) <= 2
    assert ticks[-1] == ()
    assert open_store(folder).counts()["failed"] == 5
    assert lines[0].endswith(f"run {IDS[0]}: failed: as asked")
    assert (folder / "driver.log").read_text().splitlines() == lines


def test_worker_that_dies_three_times_is_recorded_by_the_driver(folder: Path, executor: ThreadPoolExecutor) -> None:
    tries: dict[str, int] = {}

    def call(folder: str, run_id: str) -> str:
        tries[run_id] = tries.get(run_id, 0) + 1
        if run_id == IDS[4]:
            raise WorkerDied("worker process 1 was killed by SIGKILL")
        writer = begin(folder, run_id)
        writer.update({"epoch": [1, 2], "train_mse": [0.5, 0.25]})
        if run_id == IDS[1] or (run_id == IDS[2] and tries[run_id] < 3):
            raise WorkerDied("worker process 1 was killed by SIGKILL")
        writer.fail("ended by itself")
        return "failed"

    drive(folder, IDS, executor, window=1, journal=Journal(folder / "driver.log"), call=call)
    assert tries == {IDS[0]: 1, IDS[1]: 3, IDS[2]: 3, IDS[3]: 1, IDS[4]: 3}
    store = open_store(folder)
    reasons = store.runs["reason"]
    for run_id in (IDS[0], IDS[2], IDS[3]):
        assert reasons[run_id] == "ended by itself"
    for run_id in (IDS[1], IDS[4]):
        assert reasons[run_id].startswith("worker process 1 was killed by SIGKILL; so it went 3 times")
    # What the worker had published before it died is kept; a run without a file gets one.
    assert store.history(IDS[1])["train_mse"].tolist() == [0.5, 0.25]
    assert store.provenance(IDS[1])["host"] == "worker"
    assert store.record(IDS[4]).epochs == 0
    assert (folder / "driver.log").read_text().count("(try ") == 8


def test_store_that_cannot_be_written_ends_the_study(folder: Path, executor: ThreadPoolExecutor) -> None:
    calls: list[Any] = []

    def call(folder: str, run_id: str) -> str:
        calls.append(run_id)
        raise StoreError("cannot write x: No space left on device")

    with pytest.raises(StoreError, match="No space"):
        drive(folder, IDS, executor, window=1, journal=Journal(folder / "driver.log"), call=call)
    assert calls == IDS[:1]

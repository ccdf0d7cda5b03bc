from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dash_hpc import run_study
from dash_hpc.errors import StoreError
from dash_hpc.execution import forecast as module
from dash_hpc.execution.forecast import DiskNeed, Forecast, disk_need, forecast, require_space
from dash_hpc.execution.planning import gene_count
from dash_hpc.execution.work.probe import densities, probe
from dash_hpc.store import FreeSpace
from dash_hpc.study import Study, load_study, plan


@pytest.fixture
def study(tiny: Path) -> Study:
    return load_study(tiny)


def test_disk_need_is_a_little_more_than_what_a_study_leaves(tiny: Path, tmp_path: Path) -> None:
    folder = run_study(tiny, output=tmp_path / "out", workers=1, progress="none").folder
    runs = plan(load_study(tiny), "")
    need = disk_need(runs, 12, workers=1)
    used = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    records = sum(path.stat().st_size for path in folder.rglob("runs/*/*.h5"))
    assert sum(used) <= need.bytes
    assert len(used) <= need.files
    # Without the allowance for the report, the records are foreseen to a factor of two and a half.
    own = need.bytes - module._REPORT_BYTES
    assert records <= own <= 2.5 * records + 200_000


def test_disk_need_of_dense_and_pruned_networks_differs() -> None:
    def run(name: str, epochs: int = 200) -> Any:
        from dash_hpc.study import RunSpec

        spec = {
            "training": {"epochs": epochs},
            "model": {"hidden": 40, "dtype": "float32"},
            "schedule": {"first_epoch": 3, "first_fraction": 0.7, "every": 10, "fraction": 0.1},
            "strategy": {"name": name},
        }
        return RunSpec("0" * 16, spec)

    def record(name: str) -> int:
        return disk_need([run(name)] * 1001, 350, 1).bytes - disk_need([run(name)], 350, 1).bytes

    dense, pruned = record("none") / 1000, record("imp") / 1000
    # Dense: 4 matrices of 350 × 40 float32 values and their (well compressed) places.
    assert 224_000 < dense < 400_000
    assert 30_000 < pruned < 0.5 * dense


def test_densities_follow_the_schedule() -> None:
    assert densities(None, 3) == [1.0, 1.0, 1.0]
    shares = densities({"first_epoch": 2, "first_fraction": 0.7, "every": 2, "fraction": 0.5}, 7)
    assert shares == pytest.approx([1.0, 0.3, 0.3, 0.15, 0.15, 0.075, 0.075])


def test_probe_measures_each_strategy(study: Study) -> None:
    firsts = {run.spec["strategy"]["name"]: run.spec for run in plan(study, "")}
    found = probe(list(firsts.values()), str(study.base), 2.0)
    assert set(found["strategies"]) == {"none", "dash"}
    assert found["pairs"] > 10
    assert found["training_bytes"] > 50_000_000
    assert found["evaluation_bytes"] > 50_000_000
    assert found["evaluated"]
    for own in found["strategies"].values():
        assert 0 < own["epoch"] < own["seconds"]


def test_forecast_of_a_study(study: Study, tmp_path: Path) -> None:
    found = forecast(study, output=tmp_path / "out", workers=2, seconds=2.0)
    assert (found.runs, found.workers, found.genes) == (4, 2, 12)
    assert found.seconds is not None
    assert 0 < found.seconds < 60
    assert found.memory_bytes is not None
    assert found.worker_bytes is not None
    assert found.memory_bytes > 2 * found.worker_bytes
    assert [line.split(":")[0] for line in found.lines()] == ["disk", "memory", "evaluation", "report", "time", "probe"]
    assert found.probe_seconds == 2.0
    assert not (tmp_path / "out").exists()
    without = forecast(study, seconds=0)
    assert without.seconds is None
    assert without.lines()[-1].startswith("note: time and memory were not measured (--probe 10")


def test_a_probe_that_fails_leaves_the_rest(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "probe", densities)  # called with other arguments, it fails in the worker
    found = forecast(study)
    assert found.seconds is None
    assert any("the probe failed" in note for note in found.notes)
    assert found.disk.bytes > 0


def test_long_and_short_times_and_sizes_are_readable() -> None:
    found = Forecast(
        1200,
        8,
        350,
        100,
        DiskNeed(3_200_000_000, 1500),
        FreeSpace(10**9, 10**6),
        4 * 10**8,
        35 * 10**8,
        {"dash": 540.0},
        81000.0,
    )
    assert found.lines() == [
        "disk: at most 3.2 GB in 1,500 files; 1.0 GB free there: NOT ENOUGH",
        "memory: 3.5 GB (400.0 MB for each of 8 workers, the rest for the driver)",
        "time: at most about 22 h with 8 workers (a run: dash 9 min)",
    ]


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (FreeSpace(1_000_000, None), r"4 runs may need .* MB, but 1\.0 MB are free there; make room"),
        (FreeSpace(10**12, 20), r"4 runs may need \d+ files, but 20 are free there; make room"),
    ],
)
def test_study_does_not_start_without_room(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: FreeSpace, message: str
) -> None:
    monkeypatch.setattr(module, "free_space", lambda folder: free)
    with pytest.raises(StoreError, match=message) as caught:
        run_study(tiny, output=tmp_path / "out", progress="none")
    assert str(tmp_path / "out") in str(caught.value)
    assert not list((tmp_path / "out").glob("runs/*/*"))


def test_room_for_what_is_left_is_enough(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = plan(study, "")
    one = disk_need(runs[:1], gene_count(study), 1)
    monkeypatch.setattr(module, "free_space", lambda folder: FreeSpace(one.bytes, None))
    require_space(tmp_path, runs[:1], gene_count(study), 1)
    require_space(tmp_path, [], gene_count(study), 1)
    with pytest.raises(StoreError, match="4 runs may need"):
        require_space(tmp_path, runs, gene_count(study), 1)

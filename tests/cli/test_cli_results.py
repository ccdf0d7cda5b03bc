"""One small study from the command line to its report, and the commands that read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dash_hpc import open_store
from dash_hpc.cli import app
from dash_hpc.study import load_study, plan


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> tuple[Path, Result]:
    """Output folder of the small study, and what ``run`` printed."""
    place = tmp_path_factory.mktemp("cli")
    (place / "tiny.toml").write_text(tiny)
    return place / "out", call("run", place / "tiny.toml", "--output", place / "out", "--workers", "1")


def test_run_ends_with_a_table_and_the_path_of_a_report(finished: tuple[Path, Result]) -> None:
    folder, result = finished
    assert result.exit_code == 0, result.stderr
    last = result.stdout.rstrip().splitlines()[-1]
    assert last.startswith("report: ")
    report = Path(last.removeprefix("report: "))
    assert report.is_file()
    assert folder in report.parents
    for word in ("dash", "none", "sparsity"):
        assert word in result.stdout


def test_the_resolved_study_in_the_output_has_the_same_plan(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    ids = [run.id for run in plan(load_study(folder / "study.toml"), "")]
    assert ids == [run.id for run in plan(load_study(folder.parent / "tiny.toml"), "")]
    assert tuple(ids) == open_store(folder).planned


def test_running_again_repeats_nothing(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    before = {file: file.stat().st_mtime_ns for file in (folder / "runs").rglob("*.h5")}
    result = call("run", folder.parent / "tiny.toml", "--output", folder, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"]["done"] == 6
    assert {file: file.stat().st_mtime_ns for file in (folder / "runs").rglob("*.h5")} == before


def test_status_counts_runs(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    shown = call("status", folder)
    assert shown.exit_code == 0
    assert "6 done" in shown.stdout
    assert "best validation MSE" in shown.stdout
    answer = json.loads(call("status", folder, "--json").stdout)
    assert answer["runs"]["done"] == answer["runs"]["planned"] == 6
    assert answer["best"]["validation_mse"] == open_store(folder).runs["validation_mse"].min()
    assert answer["failed"] == []


@pytest.mark.parametrize("rule", ["one_se", "best"])
def test_select_chooses_among_the_candidates(finished: tuple[Path, Result], rule: str) -> None:
    folder, _ = finished
    shown = call("select", folder, "--rule", rule)
    assert shown.exit_code == 0
    assert "λ = (" in shown.stdout
    (answer,) = json.loads(call("select", folder, "--rule", rule, "--json").stdout)["levels"]
    assert answer["level"] == {}
    assert answer["setting"]["lambda_ppi"] in (0.1, 0.5)
    assert len(answer["candidates"]) == 2
    assert answer["run_id"] in open_store(folder).runs.index
    chosen = next(line for line in shown.stdout.splitlines() if "★ chosen" in line)
    assert chosen.split()[:2] == [f"{value:g}" for value in answer["setting"].values()]
    assert f"open_store({str(folder)!r}).network({answer['run_id']!r})" in shown.stdout


def test_select_names_a_strategy_without_runs(finished: tuple[Path, Result]) -> None:
    result = call("select", finished[0], "--strategy", "imp")
    assert result.exit_code == 2
    assert "no finished imp run" in result.stderr


def test_report_is_written_again(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    answer = json.loads(call("report", folder, "--json").stdout)
    assert {row["strategy"] for row in answer["results"] if row["kind"] == "model"} == {"dash", "none"}
    path = Path(answer["report"])
    path.unlink()
    result = call("report", folder)
    assert result.exit_code == 0
    assert path.is_file()
    assert "sparsity" in result.stdout


def test_a_study_whose_runs_fail_leaves_with_one_and_says_why(tmp_path: Path, tiny: str) -> None:
    (tmp_path / "tiny.toml").write_text(tiny)
    words = ["--set", "solver.max_steps=1", "--set", "sweep.seeds=0", "--workers", "1"]
    result = call("run", tmp_path / "tiny.toml", "--output", tmp_path / "out", *words)
    assert result.exit_code == 1
    assert result.stderr.count("failed: run ") == 3
    shown = call("status", tmp_path / "out")
    assert shown.exit_code == 0
    assert "3 failed" in shown.stdout
    assert shown.stdout.count("failed: run ") == 3

"""Runs of one folder that two versions of the program worked at: told at the start, in the records, and by readers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dash_hpc
from dash_hpc.execution import run_one, run_study
from dash_hpc.execution.machine import provenance as module
from dash_hpc.execution.machine.provenance import provenance
from dash_hpc.store import Store, made_with, open_store

Interrupt = Callable[[Path, str, int], str]


@pytest.fixture
def other_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that makes this process one of another version."""

    def become(version: str) -> None:
        monkeypatch.setattr(dash_hpc, "__version__", version)
        module._fixed.cache_clear()

    yield become
    monkeypatch.undo()
    module._fixed.cache_clear()


def test_a_run_that_another_version_goes_on_with_tells_it(
    planned: Path, interrupt: Interrupt, other_version: Callable[[str], None], whole: Store
) -> None:
    run_id = whole.planned[0]
    here = dash_hpc.__version__
    assert interrupt(planned, run_id, 2) == "stopped"
    other_version("9.9.9")
    assert interrupt(planned, run_id, 1) == "stopped"
    assert run_one(str(planned), run_id) == "done"
    store = open_store(planned)
    assert [step["before"] for step in store.provenance(run_id)["resumed"]] == [{"dash_hpc": here}, {}]
    (mixture,) = store.mixtures()
    assert mixture.column == "made.program"
    assert mixture.counts == {store.runs.loc[run_id, "made.program"]: 1}
    assert [name.split(" (")[0] for name in mixture.names] == [f"dash-hpc {here}", "dash-hpc 9.9.9"]


def test_the_study_says_it_while_it_runs(
    tiny: Path,
    tmp_path: Path,
    other_version: Callable[[str], None],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "out"
    other_version("0.0.9")
    monkeypatch.setattr("dash_hpc.execution.study_run.LocalExecutor", Here)
    run_study(tiny, output=folder, overrides=["sweep.seeds=0"], workers=1, progress="plain")
    assert "another version" not in capfd.readouterr().err
    other_version("0.1.7")
    store = run_study(tiny, output=folder, workers=1, progress="plain")
    error = capfd.readouterr().err
    assert "2 runs done before by another version, dash-hpc 0.0.9 (code " in error
    assert "this is dash-hpc 0.1.7, and means will mix them" in error
    (mixture,) = store.mixtures()
    assert list(mixture.counts.values()) == [2, 2]


class Here:
    """An executor that works in this process, so that it has this process's version."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.workers = 1

    def submit(self, function, /, *arguments, **options):  # type: ignore[no-untyped-def]
        from concurrent.futures import Future

        future: Future = Future()
        future.set_result(function(*arguments, **options))
        return future

    def ask_to_stop(self, *arguments: object) -> None: ...

    def shutdown(self, *arguments: object) -> None: ...

    def stop(self, *arguments: object) -> None: ...


def test_the_code_is_that_which_numbers_come_from(tmp_path: Path) -> None:
    package = tmp_path / "dash_hpc"
    for name in ("ops", "report"):
        (package / name).mkdir(parents=True)
        (package / name / "a.py").write_text("one = 1\n")
    (package / "rng.py").write_text("seed\n")

    def code() -> str:
        return module._digest(package, [package / "rng.py", *module._sources(package)])

    first = code()
    by_hand = hashlib.sha256(b"rng.py 5\nseed\n" + b"ops/a.py 8\none = 1\n").hexdigest()[:16]
    assert first == by_hand
    (package / "report" / "a.py").write_text("one = 2\n")
    assert code() == first
    (package / "ops" / "a.py").write_text("one = 2\n")
    assert code() != first
    assert module._digest(package, []) == ""


def test_everything_that_a_result_depends_on_is_recorded() -> None:
    facts = provenance()
    assert len(facts["code"]) == 16
    assert len(facts["native"]["build"]) == 16
    assert "unknown" not in " ".join(made_with(facts).values())

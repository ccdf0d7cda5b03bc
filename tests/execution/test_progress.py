from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from dash_hpc.errors import UsageError
from dash_hpc.execution import Progress, line, snapshot, table
from dash_hpc.ids import spec_id
from dash_hpc.store import RunWriter, Store, open_store, write_plan


def spec(k: int) -> dict[str, Any]:
    strategy = {"name": "dash", "lambda_ppi": 0.25, "lambda_motif": 0.01}
    return {"seed": k, "strategy": strategy, "training": {"epochs": 10}}


IDS = [spec_id(spec(k)) for k in range(4)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write_plan(tmp_path, [(run_id, spec(k)) for k, run_id in enumerate(IDS)], study="named", base=tmp_path)
    return open_store(tmp_path)


def writer(store: Store, k: int) -> RunWriter:
    return RunWriter(store.folder, IDS[k], spec(k), {}, interval=0.0)


def advance(store: Store, k: int, epochs: int) -> None:
    numbers = list(range(1, epochs + 1))
    writer(store, k).update({"epoch": numbers, "validation_mse": [1 / n for n in numbers], "sparsity": [0.5] * epochs})


def finish(store: Store, k: int, mse: float, sparsity: float) -> None:
    import numpy as np

    shapes = {"W_sums": (1, 2), "W_prods": (1, 2), "U_sums": (2, 1), "U_prods": (2, 1), "b_sums": (1,), "b_prods": (1,)}
    weights = {name: np.zeros(shape) for name, shape in (shapes | {"v": (2,)}).items()}
    writer(store, k).finish(
        history={"epoch": [1]},
        events=[],
        weights=weights,
        masks={},
        epoch=1,
        metrics={"validation_mse": mse, "sparsity": sparsity},
    )


def test_snapshot_of_a_store(store: Store) -> None:
    finish(store, 0, 0.5, 0.9)
    finish(store, 1, 0.25, 0.8)
    advance(store, 2, 4)
    writer(store, 3).fail("x")
    state = snapshot(store.refresh())
    assert (state.name, state.planned, state.done, state.failed) == ("named", 4, 2, 1)
    assert state.best_mse == 0.25
    assert state.mean_sparsity == pytest.approx(0.85)
    assert state.work == pytest.approx(3.4)
    (view,) = state.running
    assert (view.run_id, view.epoch, view.epochs, view.validation_mse) == (IDS[2], 4, 10, 0.25)
    assert view.label == "dash λ₁ 0.25 λ₂ 0.01 seed 2"
    assert line(state) == (
        "2 of 4 runs done, 1 running, 1 failed, 0 waiting, best validation MSE 0.25, mean sparsity 85.0 %"
    )


def test_records_of_an_earlier_try_do_not_count(store: Store) -> None:
    writer(store, 0).fail("last time")
    advance(store, 1, 5)
    state = snapshot(store.refresh(), active=[IDS[0]])
    assert (state.failed, state.running, state.work) == (0, (), 0)


def test_plain_lines_in_a_log(store: Store) -> None:
    clock = [0.0]
    stream = io.StringIO()
    progress = Progress(store, stream=stream, clock=lambda: clock[0])
    assert progress.mode == "plain"
    due = []
    for second in range(0, 64, 2):
        clock[0] = second
        if second == 20:
            advance(store, 0, 10)
        if second == 40:
            finish(store, 0, 0.125, 0.5)
        text = progress.tick([IDS[0]] if second < 40 else [])
        if text is not None:
            due.append((second, text))
            progress.echo(text)
    assert due == [
        (16, "0 of 4 runs done, 0 running, 0 failed, 4 waiting, elapsed 0:00:16"),
        (32, "0 of 4 runs done, 1 running, 0 failed, 3 waiting, elapsed 0:00:32, left about 0:01:36"),
        (
            48,
            "1 of 4 runs done, 0 running, 0 failed, 3 waiting, best validation MSE 0.125, mean sparsity 50.0 %, "
            "elapsed 0:00:48, left about 0:02:24",
        ),
    ]
    assert stream.getvalue() == "".join(f"{text}\n" for _, text in due)
    assert "\x1b" not in stream.getvalue()
    progress.close()


def test_live_table_on_a_terminal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    finish(store, 0, 0.5, 0.9)
    advance(store, 1, 4)
    stream = Terminal()
    progress = Progress(store, stream=stream)
    assert progress.mode == "live"
    progress.tick([IDS[1]])
    progress.echo("run 3 [failed]")
    progress.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "run 3 [failed]" in shown
    assert IDS[1] in shown
    assert "4 / 10" in shown
    assert "50.0 %" in shown


def test_dumb_terminal_gets_plain_lines(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert Progress(store, stream=Terminal()).mode == "plain"


def test_long_tables_are_cut(store: Store) -> None:
    for k in range(4):
        advance(store, k, 1)
    state = snapshot(store.refresh())
    many = type(state)(**{**vars(state), "running": state.running * 10})
    rows = table(many).renderables[1]
    assert isinstance(rows, Table)
    assert rows.row_count == 21
    assert len(table(type(state)(**{**vars(state), "running": ()})).renderables) == 1


def test_looking_leaves_the_cores_to_the_workers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    looks = []

    def slow_refresh() -> Store:
        looks.append(clock[0])
        clock[0] += 0.5
        return store

    monkeypatch.setattr(store, "refresh", slow_refresh)
    progress = Progress(store, "none", clock=lambda: clock[0])
    while clock[0] < 100:
        progress.tick([])
        clock[0] += 0.1
    assert 0.5 * len(looks) <= 100 / 18


def test_unknown_mode(store: Store) -> None:
    with pytest.raises(UsageError, match="auto, live, plain or none"):
        Progress(store, "pretty")  # type: ignore[arg-type]

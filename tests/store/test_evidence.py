"""What a run knows of single edges: written, read, compared, and refused where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dash_hpc.errors import StoreError
from dash_hpc.store import Evidence, RunWriter, compare_runs, open_store, read_run
from dash_hpc.store.evidence import COLUMNS
from tests.store.hostile_files import forge, put, put_text, table

RUN_ID = "0123456789abcdef"
nan, inf = float("nan"), float("inf")


def evidence(rows: int = 3) -> Evidence:
    columns: dict[str, Any] = {
        "regulator": ["a", "γ", "d"], "target": ["b", "b", "e"], "listed": [True, False, True],
        "taken": [True, True, False], "sign": [1, 0, -1], "log_bf": [12.5, 7.0, -inf],
        "prior_log_odds": [2.0, -5.0, -inf],
        "log_odds": [14.5, 2.0, -inf], "probability": [0.9999, 0.88, 0.0], "effect": [0.5, -0.2, nan],
        "standard_error": [0.1, 0.05, nan], "power": [8.0, 3.0, nan], "verdict": ["supported", "undecided", "refused"],
        "alike": ["", "a", ""], "correlation": [nan, -0.95, nan],
    }  # fmt: skip
    texts = {name for name, kind in COLUMNS.items() if kind == "O"}
    edges = {name: np.array(values[:rows], dtype=object if name in texts else None) for name, values in columns.items()}
    if not rows:
        edges = {name: np.empty(0, dtype=kind if kind != "i" else np.int64) for name, kind in COLUMNS.items()}
    return Evidence(edges, {"mode": "network", "keep": -1.386, "admit": 0.0, "corruption": None, "noise": 0.025})


@pytest.fixture
def write(tmp_path: Path, spec: dict[str, Any], result: dict[str, Any]) -> Callable[..., Path]:
    def write(run_id: str = RUN_ID, found: Evidence | None = None) -> Path:
        writer = RunWriter(tmp_path, run_id, spec, {"host": "h"})
        writer.finish(**result, evidence=found)
        return writer.path

    return write


@pytest.mark.parametrize("rows", [3, 0])
def test_evidence_comes_back_as_it_was(write: Callable[..., Path], rows: int) -> None:
    found = read_run(write(found=evidence(rows))).evidence
    assert found is not None
    assert len(found) == rows
    assert found.facts == evidence().facts
    for name, values in evidence(rows).edges.items():
        np.testing.assert_array_equal(found.edges[name], values)
    with h5py.File(write(found=evidence(rows))) as file:  # as other tools see it
        assert list(file["evidence/edges"].attrs["columns"]) == [name.encode() for name in COLUMNS]


def test_a_file_from_before_regulators_were_compared(write: Callable[..., Path]) -> None:
    path, older = write(found=evidence()), evidence().edges
    del older["alike"], older["correlation"]
    texts = {
        name: np.array([text.encode() for text in older[name]])
        for name, kind in COLUMNS.items()
        if kind == "O" and name in older
    }
    forge(path, lambda file: table(file, "evidence/edges", {**older, **texts}))
    found = read_run(path).evidence
    assert found is not None
    assert tuple(found.edges) == tuple(COLUMNS)
    assert found.edges["regulator"].tolist() == ["a", "γ", "d"]
    assert found.edges["alike"].tolist() == ["", "", ""]
    assert np.isnan(found.edges["correlation"]).all()


def test_a_run_without_it_has_none(write: Callable[..., Path]) -> None:
    assert read_run(write()).evidence is None
    assert read_run(write(found=evidence()), tables=False).evidence is None
    with h5py.File(write()) as file:
        assert "evidence" not in file


def test_the_store_gives_it(
    write: Callable[..., Path], tmp_path: Path, spec: dict[str, Any], result: dict[str, Any]
) -> None:
    write(found=evidence())
    other = "f" * 16
    write(other)
    store = open_store(tmp_path)
    assert store.evidence("0123").edges["verdict"].tolist() == ["supported", "undecided", "refused"]
    with pytest.raises(
        StoreError, match="has no evidence on edges: its strategy is dash; strategy evidence gives some"
    ):
        store.evidence("ffff")


def test_a_difference_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    one = write(found=evidence()).rename(tmp_path / "one")
    assert compare_runs(one, write(found=evidence())) == []
    assert compare_runs(one, write()) == ["evidence: only one of the two has some"]
    changed = evidence()
    changed.edges["log_bf"][1] = 7.5
    changed.facts["noise"] = 0.03
    assert compare_runs(one, write(found=changed)) == [
        "evidence: log_bf differs in 1 of 3 values",
        "evidence: its facts differ",
    ]


def test_what_cannot_be_is_not_written(write: Callable[..., Path]) -> None:
    found = evidence()
    with pytest.raises(StoreError, match="evidence has the columns regulator, target"):
        write(found=Evidence({"regulator": found.edges["regulator"]}, found.facts))
    with pytest.raises(StoreError, match="facts of evidence: 'noise': 'loud' where a number belongs"):
        write(found=Evidence(found.edges, {**found.facts, "noise": "loud"}))


def _replaced(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    return lambda file: put(file, f"evidence/edges/{name}", values)


def _no_facts(file: h5py.File) -> None:
    del file["evidence/facts"]


def _bomb(file: h5py.File) -> None:
    table(file, "evidence/edges", {name: np.zeros(1 << 22) for name in COLUMNS})


HOSTILE: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "verdict": (_replaced("verdict", np.array([b"maybe"] * 3)), "verdict has a value that cannot be"),
    "sign": (_replaced("sign", np.array([5, 0, 0])), "sign has a value that cannot be"),
    "probability": (_replaced("probability", np.array([0.5, 1.5, 0.0])), "probability has a value that cannot be"),
    "error": (_replaced("standard_error", np.array([0.5, -1.5, 0.0])), "standard_error has a value that cannot be"),
    "correlation": (_replaced("correlation", np.array([nan, 1.5, nan])), "correlation has a value that cannot be"),
    "numbers as names": (_replaced("regulator", np.zeros(3)), "regulator is of another type"),
    "text as numbers": (_replaced("log_bf", np.array([b"x"] * 3)), "log_bf is of another type"),
    "length": (_replaced("log_bf", np.zeros(4)), "has shape"),
    "columns": (lambda file: table(file, "evidence/edges", {"target": np.zeros(3)}), "columns are not those of edges"),
    "facts": (lambda file: put_text(file, "evidence/facts", b"[1]"), "/evidence/facts: a list of 1 where an object"),
    "NaN in facts": (lambda file: put_text(file, "evidence/facts", b'{"mode":"x","a":NaN}'), "NaN where a number"),
    "no facts": (_no_facts, "facts"),
    "long facts": (lambda file: put_text(file, "evidence/facts", b" " * (1 << 17)), "or one of more than"),
    "bomb": (_bomb, "far more than its file holds"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_is_refused_in_one_line(write: Callable[..., Path], name: str) -> None:
    path = write(found=evidence())
    change, words = HOSTILE[name]
    forge(path, change)
    with pytest.raises(StoreError, match=words) as caught:
        read_run(path)
    assert "\n" not in str(caught.value)

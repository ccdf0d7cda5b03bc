"""Runs of one store that were made with different things: told with names and counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import build
from dash_hpc.evaluation.metrics import evaluate
from dash_hpc.ids import spec_id
from dash_hpc.models import Phoenix
from dash_hpc.store import (
    RunWriter,
    is_reserved,
    made_with,
    mixtures,
    open_store,
    option_column,
    rebuild_index,
    schema,
    verify,
    write_plan,
)
from dash_hpc.store import index as index_module
from dash_hpc.study import STRATEGIES, parse_study

Make = Callable[[Sequence[str]], Path]
IDS = [f"{k:016x}" for k in range(9)]
HERE = {
    "dash_hpc": "0.1.0",
    "code": "0123456789abcdef",
    "numpy": "2.1.0",
    "scipy": "1.14.0",
    "torch": "2.5.0",
    "native": {"available": True, "isa": "avx2", "compiler": "12.2.0", "build": "fedcba9876543210"},
    "cpu": "EPYC",
    "device": "cpu",
}


def rows(*provenances: dict[str, Any], status: str = "done") -> list[dict[str, Any]]:
    return [{"status": status, **made_with(facts)} for facts in provenances]


def test_runs_made_alike_are_no_mixture() -> None:
    assert mixtures(rows(HERE, {**HERE, "host": "elsewhere", "pid": 3, "threads": 8, "python": "3.12.1"})) == []
    assert mixtures(rows({}, {})) == []
    assert mixtures([]) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"dash_hpc": "9.9.9"},
            "results of 2 versions of the program stand side by side: "
            "dash-hpc 0.1.0 (code 0123456789ab) (2 runs); dash-hpc 9.9.9 (code 0123456789ab) (1 run)",
        ),
        (
            {"code": "aaaabbbbccccdddd"},
            "results of 2 versions of the program stand side by side: "
            "dash-hpc 0.1.0 (code 0123456789ab) (2 runs); dash-hpc 0.1.0 (code aaaabbbbcccc) (1 run)",
        ),
        ({"numpy": "2.2.0"}, "results of 2 versions of NumPy stand side by side: 2.1.0 (2 runs); 2.2.0 (1 run)"),
        ({"scipy": ""}, "results of 2 versions of SciPy stand side by side: 1.14.0 (2 runs); unknown (1 run)"),
        ({"torch": "2.6.0"}, "results of 2 versions of PyTorch stand side by side: 2.5.0 (2 runs); 2.6.0 (1 run)"),
        ({"cpu": "Xeon"}, "results of 2 processors stand side by side: EPYC (2 runs); Xeon (1 run)"),
        ({"device": "H100"}, "results of 2 devices stand side by side: cpu (2 runs); H100 (1 run)"),
        (
            {"native": {**HERE["native"], "isa": "avx512"}},
            "results of 2 builds or instruction sets of the native operators stand side by side: "
            "avx2 compiler 12.2.0 build fedcba987654 (2 runs); avx512 compiler 12.2.0 build fedcba987654 (1 run)",
        ),
        (
            {"native": {"available": False, "isa": "none"}},
            "results of 2 builds or instruction sets of the native operators stand side by side: "
            "avx2 compiler 12.2.0 build fedcba987654 (2 runs); Python twins (1 run)",
        ),
    ],
)
def test_whatever_a_result_depends_on_is_told(change: dict[str, Any], text: str) -> None:
    assert [str(found) for found in mixtures(rows(HERE, HERE, {**HERE, **change}))] == [text]


def test_only_done_runs_are_counted() -> None:
    assert mixtures(rows(HERE) + rows({**HERE, "numpy": "1"}, status="failed")) == []


def test_a_run_that_another_version_went_on_with_is_a_mixture_by_itself() -> None:
    resumed = {
        **HERE,
        "dash_hpc": "0.3.0",
        "resumed": [
            {"at": "2026-01-01", "epoch": 3, "before": {"dash_hpc": "0.1.0"}},
            {"at": "2026-01-02", "epoch": 5, "before": {}},
            {"at": "2026-01-03", "epoch": 7, "before": {"dash_hpc": "0.2.0", "device": "H100"}},
        ],
    }
    made = made_with(resumed)
    # From 0.1.0 to 0.2.0 at the first step: what the third one found is what the first one left.
    assert made["made.program"] == (
        "dash-hpc 0.1.0 (code 0123456789ab), then dash-hpc 0.2.0 (code 0123456789ab), "
        "then dash-hpc 0.3.0 (code 0123456789ab)"
    )
    assert made["made.device"] == "H100, then cpu"
    program, device = mixtures(rows(resumed))
    assert program.counts == {made["made.program"]: 1}
    assert len(program.names) == 3
    assert "results of 2 devices" in str(device)


def test_a_run_that_moved_and_was_resumed_names_its_devices_in_turn() -> None:
    facts = {
        **HERE,
        "device": "H200",
        "moved": [{"at": "2026-01-02", "from": "H100", "to": "cpu"}],
        "resumed": [{"at": "2026-01-03", "before": {"device": "cpu"}}],
    }
    assert made_with(facts)["made.device"] == "H100, then cpu, then H200"


def test_texts_of_files_are_short_and_plain() -> None:
    steps = [{"at": f"{k:03d}", "before": {"cpu": ("EPYC", "Xeon")[k % 2]}} for k in range(50)]
    made = made_with({**HERE, "numpy": "2\x1b[31m" + "9" * 10**6, "resumed": steps})
    assert made["made.cpu"] == "EPYC, then Xeon"
    assert made["made.numpy"] == "2�[31m" + "9" * 94
    many = mixtures(rows(*({**HERE, "torch": f"2.{k}"} for k in range(20))))
    assert str(many[0]).endswith("2.7 (1 run) and 12 more")
    assert str(many[0]).startswith("results of 20 versions of PyTorch")


@pytest.mark.parametrize("facts", [{"resumed": "x"}, {"resumed": [3]}, {"moved": {"a": 1}}, {"native": 7}])
def test_strange_provenance_is_no_crash(facts: dict[str, Any]) -> None:
    assert set(made_with(facts)) == set(made_with(HERE))


@pytest.fixture
def mixed(tmp_path: Path, spec: dict[str, Any], result: dict[str, Any]) -> Path:
    folder = tmp_path / "mixed"
    specs = [{**spec, "seed": k} for k in range(3)]
    runs = [(spec_id(own), own) for own in specs]
    write_plan(folder, runs, study="mixed", base=tmp_path)
    for (run_id, own), version in zip(runs, ("0.1.0", "9.9.9", "9.9.9"), strict=True):
        RunWriter(folder, run_id, own, {**HERE, "dash_hpc": version}).finish(**result)
    return folder


def test_store_and_verify_tell_both_names_with_their_counts(mixed: Path) -> None:
    for indexed in (False, True):
        if indexed:
            rebuild_index(mixed)
        (found,) = open_store(mixed).mixtures()
        assert list(found.counts.values()) == [1, 2]
        told = [finding.text for finding in verify(mixed).findings if finding.kind == "mixture"]
        assert len(told) == 1
        assert "dash-hpc 0.1.0 (code 0123456789ab) (1 run); dash-hpc 9.9.9 (code 0123456789ab) (2 runs)" in told[0]
    runs = open_store(mixed).runs
    assert runs["made.numpy"].tolist() == ["2.1.0"] * 3
    assert runs.columns[-1].startswith("made.")


def test_an_index_of_an_earlier_version_is_passed_over(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old:
        old.setattr(index_module, "INDEX_VERSION", schema.INDEX_VERSION - 1)
        rebuild_index(mixed)
    store = open_store(mixed)
    assert store.problems == ()
    assert len(store.mixtures()) == 1
    with monkeypatch.context() as new:
        new.setattr(index_module, "INDEX_VERSION", schema.INDEX_VERSION + 1)
        rebuild_index(mixed)
    assert any("index.h5" in problem and "version" in problem for problem in open_store(mixed).problems)


def test_options_never_share_a_column_with_anything_else(tmp_path: Path, spec: dict, result: dict) -> None:
    """An option called like a metric made the summary print the option's value."""
    folder = tmp_path / "store"
    names = ("sparsity", "epoch", "auc", "seconds_total", "reason", "knob")
    own = {**spec, "strategy": {"name": "dash", **dict.fromkeys(names, 0.9)}}
    first, second = planned = [(spec_id(each), each) for each in (own, {**own, "seed": 1})]
    write_plan(folder, planned, study="s", base=tmp_path)
    RunWriter(folder, *first, {}).finish(**{**result, "metrics": {"sparsity": 0.125, "auc": 0.5}})
    RunWriter(folder, *second, {}).begin()
    runs = open_store(folder).runs
    assert runs.loc[first[0], ["sparsity", "auc", "knob"]].tolist() == [0.125, 0.5, 0.9]
    assert runs["sparsity"].isna().tolist() == [False, True]
    for name in names[:-1]:
        assert runs[f"option.{name}"].tolist() == [0.9, 0.9]
    assert runs["reason"].tolist() == ["", ""]
    assert option_column("knob") == "knob"
    assert runs.columns.get_loc("option.sparsity") < runs.columns.get_loc("data.kind")


def test_the_names_of_all_metrics_are_reserved(tmp_path: Path) -> None:
    spec = {
        "kind": "simulate", "genes": 12, "regulators": 4, "edges": 14, "trajectories": 8, "test_trajectories": 3,
        "seed": 0, "validation": 0.2, "times": [0.0, 1.0, 2.0], "prior_noise": 0.2, "expression_noise": 0.01,
    }  # fmt: skip
    text = "[data]\n" + "".join(f'{k} = "{v}"\n' if isinstance(v, str) else f"{k} = {v}\n" for k, v in spec.items())
    study = parse_study(f'{text}[[strategy]]\nname = "none"\n')
    dataset = build(study.data_spec(), seed=0, base=tmp_path)
    weights = Phoenix.initial(12, 3, np.random.default_rng(0)).arrays()
    found = evaluate(weights, None, dataset, solver=study.settings["solver"])
    assert {"recovered_missing", "test_mse", "control_prior_ba"} <= set(found)
    assert [name for name in found if not is_reserved(name)] == []


def test_no_option_of_today_has_another_column() -> None:
    for model in STRATEGIES.values():
        assert [name for name in model.model_fields if option_column(name) != name] == []

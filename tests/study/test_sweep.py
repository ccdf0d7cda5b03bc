"""Ranges, lists and the number of runs."""

from __future__ import annotations

import time

import pytest

from dash_hpc.errors import StudyError
from dash_hpc.study import MAX_RUNS, load_study, parse_study
from dash_hpc.study.count import count_runs
from dash_hpc.study.sweep import expand, length, parse_range


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, (3,)),
        ("uniform", ("uniform",)),
        ("0..4", (0, 1, 2, 3, 4)),
        ("4..4", (4,)),
        ("-2..1", (-2, -1, 0, 1)),
        ("0..10 step 5", (0, 5, 10)),
        ("0..9 step 5", (0, 5)),
        ("0..1 step 0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        (" 0.25 .. 0.75 step 0.25 ", (0.25, 0.5, 0.75)),
        ([0, "3..5", 9], (0, 3, 4, 5, 9)),
    ],
)
def test_values_are_listed_as_written(value: object, expected: tuple) -> None:
    assert expand(value) == expected
    assert length(value) == len(expected)


@pytest.mark.parametrize("text", ["0..1 step 0", "0..1 step -1", "3..1", "0.1..0.2"])
def test_a_range_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"step|downwards"):
        parse_range(text)


@pytest.mark.parametrize("text", ["", "..", "0..", "a..b", "0...4", "uniform", "1e3..2e3"])
def test_other_text_is_no_range(text: str) -> None:
    assert parse_range(text) is None


def many(seeds: str, lambdas: str) -> str:
    return (
        f'[data]\nkind = "simulate"\n[sweep]\nseeds = {seeds}\n'
        f'[[strategy]]\nname = "dash"\nlambda_ppi = {lambdas}\nlambda_motif = {lambdas}\n'
    )


@pytest.mark.parametrize(
    ("seeds", "lambdas", "total", "line"),
    [
        ('"0..999"', '"0..0.999 step 0.001"', "1,000,000,000", 4),
        ('"0..999999999"', "0.5", "1,000,000,000", 4),
        ('"0..9"', '"0..1 step 0.0001"', "1,000,200,010", 7),
        ('"0..99999999999999999999999"', "0.5", "100,000,000,000,000,000,000,000", 4),
    ],
)
def test_a_billion_runs_are_refused_at_once(tmp_path, seeds: str, lambdas: str, total: str, line: int) -> None:
    file = tmp_path / "study.toml"
    file.write_text(many(seeds, lambdas))
    began = time.perf_counter()
    with pytest.raises(StudyError) as caught:
        load_study(file)
    assert time.perf_counter() - began < 0.5
    assert str(caught.value).startswith(f"{file}:{line}: the study asks for {total} runs = ")
    assert "seeds × (dash: " in str(caught.value)


def test_the_limit_itself_is_allowed() -> None:
    assert parse_study(many('"0..999999"', "0.5")).n_runs == MAX_RUNS
    with pytest.raises(StudyError, match="1,000,001 runs"):
        parse_study(many('"0..1000000"', "0.5"))


def test_the_count_agrees_with_the_plan() -> None:
    text = many('"0..3"', "[0.1, 0.2, 0.3]") + '[[strategy]]\nname = "imp"\nrewind = ["none", "init", 1]\n'
    study = parse_study(text)
    assert study.n_runs == 4 * (9 + 3)
    assert count_runs(study.to_dict()).total == study.n_runs

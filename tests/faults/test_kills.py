"""Short forms of the cases that kill, signal and stop whole studies; ``make faults`` has the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from contenders import pairs_of_drivers, stopped_holders
from kills import Result, judge_kills, kill_campaign, worker_kills
from signalled import signal_campaign
from studies import Study, regressions, undisturbed

EPOCHS = 1000
# 50 kills for each change: as many of them as cost little.
COMMAND_KILLS, WORKER_KILLS = 8, 42


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study of all cases, undisturbed."""
    return undisturbed(tmp_path_factory.mktemp("whole"), EPOCHS)


def test_kills_of_the_command_lose_nothing(tmp_path: Path, whole: Study) -> None:
    result = kill_campaign(tmp_path, COMMAND_KILLS, seed=1, epochs=EPOCHS, whole=whole)
    assert result.failures == []
    assert result.trials == COMMAND_KILLS
    assert result.figures["wall"]


def test_kills_of_workers_lose_nothing(tmp_path: Path, whole: Study) -> None:
    result = worker_kills(tmp_path, WORKER_KILLS, seed=2, epochs=EPOCHS, whole=whole)
    assert result.failures == []
    assert result.trials == WORKER_KILLS


def test_signals_end_in_a_checkpoint_and_every_start_gets_on(tmp_path: Path, whole: Study) -> None:
    # On a machine under load all three may come before anything has trained: then there is nothing to resume.
    for seed in (2, 5, 6):
        (tmp_path / str(seed)).mkdir()
        result = signal_campaign(tmp_path / str(seed), 3, seed=seed, every=0.0, epochs=EPOCHS, whole=whole)
        assert result.failures == []
        assert result.trials == 3
        if " 0 resumptions" not in result.words:
            break
    assert " 0 resumptions" not in result.words


def test_two_drivers_do_every_run_once(tmp_path: Path, whole: Study) -> None:
    result = pairs_of_drivers(tmp_path, 1, seed=3, epochs=EPOCHS, whole=whole)
    assert result == Result("two drivers on one folder", 1, [], "every run exactly once")


def test_a_stopped_holder_writes_no_second_record(tmp_path: Path, whole: Study) -> None:
    result = stopped_holders(tmp_path, 1, seed=4, epochs=EPOCHS, whole=whole)
    assert result.failures == []
    assert result.trials == 1


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"a": ("done", 9, b"x"), "b": ("running", 4, b"")}, []),
        ({"a": ("done", 9, b"y"), "b": ("done", 9, b"z")}, ["run a was done and its record changed"]),
        ({"a": ("done", 9, b"x"), "b": ("running", 2, b"")}, ["run b fell from 4 to 2 epochs"]),
        ({"b": ("running", 5, b"")}, ["run a vanished"]),
    ],
)
def test_losses_are_noticed(after: dict[str, tuple[str, int, bytes]], expected: list[str]) -> None:
    assert regressions({"a": ("done", 9, b"x"), "b": ("running", 4, b"")}, after) == expected


def test_slow_starts_and_redone_work_are_noticed() -> None:
    slow = Result(
        "x", figures={"studies": [1], "redone": [0.1, 6.0], "wall": [9.0, 9.0, 8.0], "alone": [6.0, 5.5, 0.1]}
    )
    assert [text.split(" ")[0] for text in judge_kills(slow).failures] == ["6.00", "the"]
    waiting = Result("x", figures={"studies": [1], "redone": [], "wall": [30.0], "alone": [1.0]})
    assert judge_kills(waiting).failures == []

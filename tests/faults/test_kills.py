"""Short forms of the cases that kill, signal and stop whole studies; ``make faults`` has the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import (
    Result,
    Study,
    _regressions,
    kill_campaign,
    pairs_of_drivers,
    signal_campaign,
    stopped_holders,
    undisturbed,
)

# Tests share the machine; the long form holds the restart to 5 seconds.
PATIENT = 60.0


EPOCHS = 1000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study of all cases, undisturbed."""
    return undisturbed(tmp_path_factory.mktemp("whole"), EPOCHS)


def test_kills_lose_nothing(tmp_path: Path, whole: Study) -> None:
    result = kill_campaign(tmp_path, 6, seed=1, epochs=EPOCHS, first_epoch_seconds=PATIENT, whole=whole)
    assert result.failures == []
    assert result.trials == 6


def test_signals_end_in_a_checkpoint(tmp_path: Path, whole: Study) -> None:
    result = signal_campaign(tmp_path, 3, seed=2, every=0.0, epochs=EPOCHS, whole=whole)
    assert result.failures == []
    assert result.trials == 3
    assert " 0 resumptions" not in result.figure


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
    assert _regressions({"a": ("done", 9, b"x"), "b": ("running", 4, b"")}, after) == expected

"""The short form of the fault campaign (``make faults`` is the long one), and proof that it would notice."""

from __future__ import annotations

import os
from pathlib import Path

import failpoints
import pytest
from damage import bit_flips, truncations
from disk import mounts_possible, refusals
from document import renew
from failpoints import fail_points
from powerloss import RecordingLayer, power_losses

from dash_hpc.store import publish


def test_every_operation_fails_and_nothing_acknowledged_is_lost() -> None:
    trials = fail_points(("ENOSPC", "death before"), every=6)
    assert trials.count > 40
    assert trials.failures == []


def test_power_loss_leaves_old_or_new() -> None:
    trials = power_losses(150, seed=1)
    assert trials.failures == []


class _ForgetsFiles(RecordingLayer):
    def sync(self, descriptor: int) -> None:
        pass


class _ForgetsNames(RecordingLayer):
    def sync_folder(self, path: Path) -> None:
        if path.name.startswith("dash-hpc-faults"):
            super().sync_folder(path)


@pytest.mark.parametrize("layer", [_ForgetsFiles, _ForgetsNames])
def test_power_loss_is_noticed_without_a_sync(layer: type[RecordingLayer]) -> None:
    assert power_losses(30, seed=2, layer=layer).failures


def test_writing_in_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_place(path: Path, data: bytes, *, make_parents: bool = True, guard: object = None) -> None:
        publish.make_folder(Path(path).parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            publish.layer.write(descriptor, memoryview(data))
        finally:
            os.close(descriptor)

    monkeypatch.setattr("dash_hpc.store.runfile.publish_bytes", in_place)
    monkeypatch.setattr(failpoints, "NAMES", failpoints.NAMES[:5])
    assert fail_points(("half a write",)).failures


def test_every_truncation_of_a_run_file_is_refused() -> None:
    trials = truncations()
    assert trials.count > 20_000
    assert trials.failures == []


def test_every_flipped_bit_is_detected_and_none_used() -> None:
    trials = bit_flips(100, seed=3)
    assert trials.failures == []


def test_full_read_only_and_vanished_disks() -> None:
    if not mounts_possible():
        pytest.skip("this machine lets nobody mount a tmpfs, not even in a user namespace")
    trials = refusals(every=9)
    assert trials.count > 15
    assert trials.failures == []


def test_one_row_of_a_table_is_renewed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t -->\n<!-- end -->\nafter\n")
    renew(page, "t", "First.", ("case", "trials", "commit"), [("kills", 1, "aa"), ("flips", 2, "aa")])
    renew(page, "t", "Second.", ("case", "trials", "commit"), [("flips", 30, "bb"), ("new", 4, "bb")], whole=False)
    table = [line for line in page.read_text().split("\n") if line.startswith("|")]
    assert table[2:] == ["| kills | 1 | aa |", "| flips | 30 | bb |", "| new | 4 | bb |"]
    assert "Second. Rows of another commit were measured earlier." in page.read_text()
    assert page.read_text().startswith("before\n")
    renew(page, "t", "Third.", ("case", "trials", "commit"), [("kills", 5, "cc")])
    table = "| case | trials | commit |\n| --- | --- | --- |\n| kills | 5 | cc |"
    assert page.read_text() == f"before\n<!-- t -->\n\nThird.\n\n{table}\n\n<!-- end -->\nafter\n"

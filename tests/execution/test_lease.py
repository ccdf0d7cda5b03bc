"""Leases: one holder, whoever comes; dead holders are noticed without clocks that agree."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import dash_hpc
from dash_hpc.errors import StoreError, UsageError
from dash_hpc.execution.claims import lease_file
from dash_hpc.execution.claims.lease import LEASE_FOLDER, Lease, LeaseLost, Observer, lease_seconds
from dash_hpc.store.publish import note_seal

RUN = "0123456789abcdef"

# Takes the lease for a moment as often as it can, and proves that nobody else had it: a file made exclusively.
CONTENDER = """
import os, sys, time
from dash_hpc.execution.claims.lease import Lease
folder, name, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
won = 0
while won < turns:
    lease = Lease(folder, name, seconds=60)
    if lease.acquire() is None:
        mark = os.path.join(folder, "inside")
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        lease.check()
        os.unlink(mark)
        won += 1
        lease.release()
print("ok")
"""

HOLDER = """
import sys, time
from dash_hpc.execution.claims.lease import Lease
lease = Lease(sys.argv[1], sys.argv[2], seconds=float(sys.argv[3]))
assert lease.acquire() is None
print("held", flush=True)
while True:
    time.sleep(0.02)
    lease.check()
"""


def start(program: str, *words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / LEASE_FOLDER).rglob("*") if path.is_file())


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process stands on another machine: process ids tell it nothing about earlier holders."""
    monkeypatch.setattr(lease_file, "place", lambda: "another boot")
    monkeypatch.setattr("dash_hpc.execution.claims.lease.place", lambda: "another boot")


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    one, two = Lease(tmp_path, RUN), Lease(tmp_path, RUN)
    assert one.acquire() is None
    one.check()
    one.note("epoch 3")
    held = two.acquire()
    assert held is not None
    assert held.note == "epoch 3"
    assert str(held).startswith(f"process {os.getpid()} on ")
    with pytest.raises(LeaseLost, match="is not held"):
        two.check()
    one.release()
    assert two.acquire() is None
    assert two.taken_from is None
    with pytest.raises(LeaseLost):
        one.check()
    assert files(tmp_path) == [f"{RUN}.000002.lease"]
    two.release(remove=True)
    assert files(tmp_path) == []


def test_other_names_are_free(tmp_path: Path) -> None:
    leases = [Lease(tmp_path, name) for name in (RUN, "0123456789abcdee", "driver", "driver-2")]
    assert [lease.acquire() for lease in leases] == [None] * 4
    for lease in leases:
        lease.release()


@pytest.mark.parametrize("name", ["", "A", "../x", "a.b", "a\n", "a/b"])
def test_names_that_could_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="lease name"):
        Lease(tmp_path, name)


def test_killed_holder_of_this_machine_is_dead_at_once(tmp_path: Path) -> None:
    process = start(HOLDER, tmp_path, RUN, 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    lease = Lease(tmp_path, RUN)
    assert lease.acquire() is not None
    process.kill()
    process.wait()
    assert lease.acquire() is None
    assert lease.taken_from is not None
    assert lease.taken_from.pid == process.pid
    lease.release()


def test_reused_process_id_is_another_process(tmp_path: Path) -> None:
    lease = Lease(tmp_path, "driver")
    assert lease.acquire() is None
    (path,) = (tmp_path / LEASE_FOLDER).iterdir()
    counter, note, text = path.read_text().split("\n", 2)
    holder = {**json.loads(text), "started": "1"}
    path.write_text(f"{counter}\n{note}\n{json.dumps({**holder, 'sha256': note_seal(holder)})}\n")
    other = Lease(tmp_path, "driver")
    assert other.acquire() is None
    with pytest.raises(LeaseLost, match=f"taken over by process {os.getpid()} on"):
        lease.check()
    other.release()
    lease.release()


def test_silence_is_measured_on_the_observers_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Lease(tmp_path, RUN, seconds=60)
    assert holder.acquire() is None
    elsewhere(monkeypatch)
    now = [1e9]
    observer = Observer(60.0, lambda: now[0])
    other = Lease(tmp_path, RUN, observer=observer)
    assert other.acquire() is not None
    now[0] += 59.9
    assert other.acquire() is not None
    holder._write_counter(f"{1:20d}")  # a beat: the time starts anew
    assert other.acquire() is not None
    now[0] += 59.9
    assert other.acquire() is not None
    # A clock that the file's time was set by, however wrong, plays no part.
    os.utime(next((tmp_path / LEASE_FOLDER).rglob("*.lease")), (0, 0))
    assert other.acquire() is not None
    now[0] += 0.2
    assert other.acquire() is None
    assert other.taken_from is not None
    with pytest.raises(LeaseLost):
        holder.check()
    holder.release()  # leaves the file of the new holder alone
    other.check()
    other.release()


def test_living_holder_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Lease(tmp_path, RUN, seconds=0.3)
    assert holder.acquire() is None
    elsewhere(monkeypatch)
    other = Lease(tmp_path, RUN, seconds=0.3)
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        assert other.acquire() is not None
        time.sleep(0.02)
    holder.release()
    assert other.acquire() is None
    other.release()


def test_stopped_holder_notices_its_loss_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(HOLDER, tmp_path, RUN, 0.5)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    elsewhere(monkeypatch)
    lease = Lease(tmp_path, RUN, seconds=0.5)
    deadline = time.monotonic() + 20
    while lease.acquire() is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lease.held
    process.send_signal(signal.SIGCONT)
    assert process.stderr is not None
    error = process.stderr.read()
    assert process.wait(20) == 1
    assert f"LeaseLost: lease {RUN} was taken over by process {os.getpid()} on" in error
    lease.check()
    lease.release()


def test_unreadable_lease_is_watched_like_any_other(tmp_path: Path) -> None:
    (tmp_path / LEASE_FOLDER).mkdir()
    # Somebody beats there; who it is cannot be read any more.
    (tmp_path / LEASE_FOLDER / "driver.000007.lease").write_bytes(b"counter %20d\n%40s\n{nonsense" % (5, b""))
    now = [0.0]
    lease = Lease(tmp_path, "driver", observer=Observer(5.0, lambda: now[0]))
    held = lease.acquire()
    assert held is not None
    assert "unknown process" in str(held)
    now[0] = 5.0
    assert lease.acquire() is None
    assert files(tmp_path) == ["driver.000008.lease"]
    lease.release()


@pytest.mark.parametrize("what", ["nonsense", "a pipe", "a folder", "a link"])
def test_what_is_no_lease_is_renamed_at_once(tmp_path: Path, what: str) -> None:
    place = tmp_path / LEASE_FOLDER
    place.mkdir()
    path = place / "driver.000007.lease"
    if what == "nonsense":
        path.write_bytes(b"\xff\x00nonsense")
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    lease = Lease(tmp_path, "driver")
    assert lease.acquire() is None
    assert sorted(os.listdir(place)) == ["driver.000007.lease.damaged-1", "driver.000008.lease"]
    assert lease.problems == [
        f"{path}: not a lease, though it is called like one; it is now driver.000007.lease.damaged-1"
    ]
    lease.check()
    lease.release()


def test_many_contenders(tmp_path: Path) -> None:
    """Taken in turn by several processes: never two inside."""
    processes = [start(CONTENDER, tmp_path, RUN, 30) for _ in range(4)]
    results = [process.communicate(timeout=120) for process in processes]
    assert Counter(out for out, _ in results) == {"ok\n": 4}, results


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    one, two = Lease(tmp_path, "driver"), Lease(tmp_path, "driver")
    assert one.acquire() is None
    assert two.acquire() is not None
    one.check()
    one.release()
    assert two.acquire() is None
    two.release()


def test_a_folder_that_vanished(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "out", "driver")
    assert lease.acquire() is None
    (tmp_path / "out").rename(tmp_path / "gone")
    with pytest.raises(StoreError, match="has vanished"):
        lease.check()
    (tmp_path / "gone").rename(tmp_path / "out")
    lease.check()
    lease.release()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="Read-only file system; choose a folder that you may write to"):
        Lease(tmp_path, "driver").acquire()


def test_seconds_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASH_HPC_LEASE_SECONDS", raising=False)
    assert lease_seconds() == 60.0
    monkeypatch.setenv("DASH_HPC_LEASE_SECONDS", "2.5")
    assert lease_seconds() == 2.5
    for wrong in ("0", "-1", "soon", "nan", "inf"):
        monkeypatch.setenv("DASH_HPC_LEASE_SECONDS", wrong)
        with pytest.raises(UsageError, match="DASH_HPC_LEASE_SECONDS"):
            lease_seconds()

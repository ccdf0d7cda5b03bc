from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dash_hpc
from dash_hpc.errors import StoreError
from dash_hpc.store import publish
from dash_hpc.store.files import FileLayer
from dash_hpc.store.publish import (
    canonical_json,
    make_folder,
    publish_json,
    publish_text,
    publishing,
    set_aside,
    sweep_temporaries,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_publishes_whole_files_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    publish_text(path, "old λ\r\n")
    assert path.read_bytes() == "old λ\r\n".encode()
    publish_json(path, {"b": 1, "a": [None, True]})
    assert path.read_text() == '{\n  "a": [\n    null,\n    true\n  ],\n  "b": 1\n}\n'
    assert names(path.parent) == {"x.txt"}


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": "λ"}) == canonical_json({"a": "λ", "b": 1}) == '{"a":"λ","b":1}'


def test_temporary_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with publishing(tmp_path / "figure.svg") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".svg")
        temporary.write_text("<svg/>")
        assert not (tmp_path / "figure.svg").exists()
    assert (tmp_path / "figure.svg").read_text() == "<svg/>"


def test_body_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    publish_text(path, "old")
    with pytest.raises(ValueError, match="no"), publishing(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise ValueError("no")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"x.txt"}


@pytest.mark.parametrize("step", ["write", "sync", "close", "rename"])
def test_writer_killed_before_the_rename_leaves_the_old_file(tmp_path: Path, step: str) -> None:
    path = tmp_path / "x.txt"
    publish_text(path, "old")
    program = (
        "import os, sys; from dash_hpc.store import publish\n"
        f"publish.layer.{step} = lambda *arguments: os._exit(9)\n"
        "publish.publish_text(sys.argv[1], 'new')"
    )
    root = Path(dash_hpc.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, check=False, timeout=60)
    assert done.returncode == 9
    assert path.read_text() == "old"
    leftovers = names(tmp_path) - {"x.txt"}
    assert len(leftovers) == 1
    publish_text(path, "newer")
    assert path.read_text() == "newer"


def test_sweep_removes_only_old_temporaries(tmp_path: Path) -> None:
    for name, age in ((".tmp-1-old.h5", 3600), (".tmp-2-young.h5", 5), ("run.h5", 3600)):
        path = tmp_path / name
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert sweep_temporaries(tmp_path) == 1
    assert names(tmp_path) == {".tmp-2-young.h5", "run.h5"}


@pytest.mark.parametrize("step", ["open", "write", "sync", "close", "rename", "sync_folder"])
def test_full_disk_is_one_line_with_path_need_free_space_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "x.txt"
    publish_text(path, "old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(publish.layer, step, full)
    with pytest.raises(
        StoreError, match=r"No space left on device \(3 B needed, \d.* free there\); make room"
    ) as caught:
        publish_text(path, "new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"x.txt"}
    assert path.read_text() == ("new" if step == "sync_folder" else "old")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "choose a folder that you may write to"),
        (errno.ESTALE, "bring the folder back"),
        (errno.EIO, "check the folder"),
    ],
)
def test_refusals_say_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(publish.layer, "write", refuse)
    with pytest.raises(StoreError, match=remedy):
        publish_text(tmp_path / "x.txt", "new")
    assert names(tmp_path) == set()


def test_write_in_small_pieces_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish.layer, "write", lambda descriptor, data: os.write(descriptor, data[:3]))
    publish_text(tmp_path / "x.txt", "abcdefgh")
    assert (tmp_path / "x.txt").read_text() == "abcdefgh"


def test_file_system_without_folder_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    publish_text(tmp_path / "x.txt", "new")
    assert (tmp_path / "x.txt").read_text() == "new"


def test_vanished_folder_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No such file or directory; bring the folder back \(is it mounted\?\)"):
        publish.publish_bytes(tmp_path / "gone" / "x", b"new", make_parents=False)
    assert names(tmp_path) == set()


def test_body_that_misses_another_file_is_not_about_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publishing(tmp_path / "x") as temporary:
        temporary.write_bytes((tmp_path / "template").read_bytes())


def test_seal_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    publish.publish_sealed_text(path, "a = 1\n")
    data = path.read_bytes()
    assert data.startswith(b"a = 1\n# sha256")
    assert publish.seal_of_text(data) is True
    assert publish.seal_of_text(b"a = 1\n") is None
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 4
        assert publish.seal_of_text(bytes(changed)) is not True


def test_full_disk_while_the_body_writes(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="make room"), publishing(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(StoreError, match="runs"):
        make_folder(tmp_path / "runs")
    with pytest.raises(StoreError, match="runs"):
        publish_text(tmp_path / "runs" / "x", "new")
    assert (tmp_path / "runs").read_text() == "mine"


def test_sweep_goes_by_the_clock_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is an hour ahead of the server's: what was written now has an old stamp."""

    class Server(FileLayer):
        def open(self, path: Path) -> int:
            descriptor = super().open(path)
            os.utime(path, (time.time() - 3600,) * 2)
            return descriptor

    live = tmp_path / ".tmp-1-ab.h5"
    live.touch()
    os.utime(live, (time.time() - 3605,) * 2)
    monkeypatch.setattr(publish, "layer", Server())
    assert sweep_temporaries(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == [live.name]
    os.utime(live, (time.time() - 3600 - 700,) * 2)
    assert sweep_temporaries(tmp_path) == 1


def test_set_aside_takes_the_first_free_name(tmp_path: Path) -> None:
    for k in (1, 2):
        (tmp_path / "x.h5").write_text(str(k))
        assert set_aside(tmp_path / "x.h5") == tmp_path / f"x.h5.damaged-{k}"
    assert (tmp_path / "x.h5.damaged-1").read_text() == "1"


def test_no_other_way_of_writing() -> None:
    """Files are changed through publish.layer only; the two logs are appended to."""
    package = Path(dash_hpc.__file__).parent
    forbidden = re.compile(r"""open\([^)\n]*["'][wx]b?\+?["']|write_text\(|write_bytes\(|pickle|np\.save|to_hdf""")
    allowed = {("envelope.py", '"x", driver="core"')}
    own = {"write_text(group", "write_text(file", "def write_text("}
    for folder in ("store", "execution"):
        for path in (package / folder).rglob("*.py"):
            for line in path.read_text().splitlines() if path.name != "files.py" else ():
                bypasses = folder == "store" and re.search(r"os\.(rename|replace|unlink)\(", line)
                if (bypasses or forbidden.search(line)) and not any(text in line for text in own):
                    assert any(path.name == name and text in line for name, text in allowed), f"{path}: {line}"


def test_no_path_of_the_package_reads_a_pickle() -> None:
    """torch.load and numpy.load are such paths too."""
    forbidden = re.compile(r"pickle|\b(torch|np|numpy|joblib|marshal|shelve|dill)\.loads?\(|read_pickle|yaml")
    package = Path(dash_hpc.__file__).parent
    found = [
        f"{path}: {line}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if forbidden.search(line)
    ]
    assert found == []

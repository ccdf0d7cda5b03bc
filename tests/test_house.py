"""The rooms of the house: arrows between them point down and make no circle, and no file is too long to be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dash_hpc"
MOST_LINES = 400
MOST_LINES_NATIVE = 600  # a kernel and its parts are read together
NATIVE = frozenset({".cpp", ".hpp", ".cu", ".cuh", ".h"})

# docs/structure.md has the picture. A room may import those of lower floors and those that stand beside the stairs.
FLOORS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"ops"},
            {"evidence"},
            {"models"},
            {"pruning"},
            {"training"},
            {"evaluation"},
            {"network"},
            {"execution", "report"},
            {"cli"},
        ),
    )
)
BESIDE = frozenset({"study", "data", "store"})
GROUND = frozenset({"errors", "rng", "environment", "names", "shown", "files", "ids"})
# Of these only what is at hand without the rooms: __init__ hands out names, __main__ starts the command line.
DOORS = frozenset({"__init__", "__main__"})


def imports(path: Path, package: str, *, typing: bool) -> Iterator[str]:
    """Yield the full names of all modules of ``package`` that a file imports, wherever in the file that stands.

    Without ``typing`` what stands under ``if TYPE_CHECKING`` is left out.
    """
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if not typing and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}:{node.lineno}: a relative import; write the full name")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package:
            # "from a.b import c" may mean the module a.b.c.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(package: Path) -> dict[str, Path]:
    """All modules of a package, by full name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)] = path
    return found


def arrows(package: Path, *, typing: bool = True) -> set[tuple[str, str]]:
    """All (importer, imported) pairs of modules, full names; ``typing`` as in :func:`imports`."""
    names = modules(package)
    found = set()
    for importer, path in names.items():
        for name in imports(path, package.name, typing=typing):
            while name not in names and "." in name:
                name = name.rpartition(".")[0]
            if name in names and name != importer:
                found.add((importer, name))
    return found


def rooms(pairs: Iterable[tuple[str, str]], inside: str) -> set[tuple[str, str]]:
    """Arrows between the rooms directly inside a package: its folders, and its files."""
    depth = inside.count(".") + 1
    found = set()
    for one, other in pairs:
        if one.startswith(f"{inside}.") and other.startswith(f"{inside}."):
            a, b = one.split(".")[depth], other.split(".")[depth]
            if a != b:
                found.add((a, b))
    return found


def circle(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the rooms of one circle, in order; empty when there is none."""
    below: dict[str, set[str]] = {}
    for a, b in pairs:
        below.setdefault(a, set()).add(b)
    done: set[str] = set()

    def search(room: str, way: list[str]) -> list[str]:
        if room in way:
            return way[way.index(room) :]
        if room in done:
            return []
        for other in sorted(below.get(room, ())):
            if found := search(other, [*way, room]):
                return found
        done.add(room)
        return []

    return next((found for room in sorted(below) if (found := search(room, []))), [])


def upward(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows between rooms of the package that do not point down."""
    floor = {room: k for k, names in enumerate(FLOORS) for room in names}
    found = set()
    for a, b in pairs:
        if a in DOORS:
            continue
        if b in GROUND:
            fine = True
        elif b in BESIDE:
            fine = a not in GROUND
        else:
            fine = b in floor and floor.get(a, -1) > floor[b]
        if not fine:
            found.add((a, b))
    return found


def too_long(files: Iterable[Path]) -> dict[Path, int]:
    """Return the files of more than the allowed lines, with their length."""
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    return {
        path: length
        for path, length in lengths.items()
        if length > (MOST_LINES_NATIVE if path.suffix in NATIVE else MOST_LINES)
    }


def sources() -> list[Path]:
    """What people write: the package, the native sources, the tests, the benchmarks and what builds them."""
    found = [*(path for path in (ROOT / "csrc").rglob("*") if path.suffix in NATIVE), *ROOT.glob("*.py")]
    for folder in ("dash_hpc", "csrc", "tests", "benchmarks", "docs", "containers"):
        found += (ROOT / folder).rglob("*.py")
    return found


@pytest.fixture(scope="module")
def pairs() -> set[tuple[str, str]]:
    return arrows(PACKAGE)


def test_every_room_is_known(pairs: set[tuple[str, str]]) -> None:
    """A new room gets its floor here and in docs/structure.md."""
    here = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert here <= set().union(*FLOORS) | BESIDE | GROUND | DOORS
    assert len(pairs) > 500


def test_no_arrow_points_up(pairs: set[tuple[str, str]]) -> None:
    assert upward(rooms(pairs, "dash_hpc")) == set()


def test_no_circle_between_rooms(pairs: set[tuple[str, str]]) -> None:
    assert circle((a, b) for a, b in rooms(pairs, "dash_hpc") if a not in DOORS) == []


def test_no_circle_inside_execution(pairs: set[tuple[str, str]]) -> None:
    """Its folders, and the files beside them."""
    inside = rooms(pairs, "dash_hpc.execution")
    assert len(inside) > 20
    assert circle(inside) == []


def test_no_circle_between_files() -> None:
    """Files of a room that hands out their names in its ``__init__`` are imported by their own."""
    doors = {name for name, path in modules(PACKAGE).items() if path.stem in DOORS}
    assert circle((a, b) for a, b in arrows(PACKAGE, typing=False) if not doors & {a, b}) == []


def test_no_file_is_too_long() -> None:
    files = sources()
    assert {"native.py", "types.hpp", "conftest.py", "setup.py"} <= {path.name for path in files}
    assert too_long(files) == {}


def test_quick_choice_has_tests_of_every_room() -> None:
    """``make test-quick``: every file named exists, and no folder of tests that needs nothing special is left out."""
    (choice,) = re.findall(r"^QUICK := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    chosen = choice.replace("\\\n", " ").split()
    assert all(any(ROOT.glob(pattern.partition("::")[0])) for pattern in chosen)
    special = {"cluster", "cuda", "faults", "fuzz"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))} - special
    assert folders == {pattern.split("/")[1] for pattern in chosen} - {"test_*.py"}


def make(folder: Path, files: Mapping[str, str]) -> Path:
    package = folder / "dash_hpc"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return package


def test_arrow_that_points_up_is_found(tmp_path: Path) -> None:
    files = {
        "pruning/a.py": "import dash_hpc.training.b\n",
        "training/b.py": "from dash_hpc import ops\n",
        "ops/c.py": "def f():\n    from dash_hpc.data import d\n",
        "data/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dash_hpc.ops.c import f\n",
        "names.py": "from dash_hpc.store.e import g\n",
        "store/e.py": "from dash_hpc.names import h\n",
        "attic/f.py": "from dash_hpc.attic.g import x\n",
        "attic/g.py": "from dash_hpc.names import h\n",
        "cli/h.py": "from dash_hpc.attic import f\n",
    }
    package = make(tmp_path, files)
    found = rooms(arrows(package), "dash_hpc")
    assert upward(found) == {("pruning", "training"), ("data", "ops"), ("names", "store"), ("cli", "attic")}
    assert circle(found) in (["data", "ops"], ["names", "store"])
    found = rooms(arrows(package, typing=False), "dash_hpc")
    assert upward(found) == {("pruning", "training"), ("names", "store"), ("cli", "attic")}


def test_circle_inside_a_room_is_found(tmp_path: Path) -> None:
    files = {
        "execution/driver.py": "from dash_hpc.execution.work.one import run\n",
        "execution/work/one.py": "from dash_hpc.execution.local import child\n",
        "execution/local/child.py": "from dash_hpc.execution import driver\n",
        "execution/machine/cores.py": "",
    }
    found = rooms(arrows(make(tmp_path, files)), "dash_hpc.execution")
    assert circle(found) == ["driver", "work", "local"]
    assert circle(found - {("local", "driver")}) == []


def test_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    lengths = {
        "fine.py": MOST_LINES,
        "fine.cu": MOST_LINES_NATIVE,
        "a.py": MOST_LINES + 1,
        "a.hpp": MOST_LINES_NATIVE + 1,
    }
    for name, length in lengths.items():
        (tmp_path / name).write_text("\n" * length)
    assert too_long(tmp_path.iterdir()) == {tmp_path / name: lengths[name] for name in ("a.py", "a.hpp")}

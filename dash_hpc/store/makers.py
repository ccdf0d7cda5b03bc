"""With what runs were made, and whether those of one study agree in it.

A run's numbers follow from its spec and from what is listed in ``MADE_WITH``; docs/store.md says why each is there.
Means over runs that differ in one of them mix unlike things, which is told and never forbidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MADE_WITH", "Mixture", "made_with", "mixtures"]

_UNKNOWN = "unknown"
_THEN = ", then "
_MOST_TOLD = 8
# The texts come from files that somebody may have sent.
_MOST_LETTERS = 100

#: Column of the table of runs -> what it is called when runs differ in it. The first decides about everything, the
#: others about last bits, which training makes larger.
MADE_WITH = {
    "made.program": "versions of the program",
    "made.native": "builds or instruction sets of the native operators",
    "made.device": "devices",
    "made.numpy": "versions of NumPy",
    "made.scipy": "versions of SciPy",
    "made.torch": "versions of PyTorch",
    "made.cpu": "processors",
}


@dataclass(frozen=True)
class Mixture:
    """One thing in which the done runs of a study differ.

    Attributes
    ----------
    column : str
        One of ``MADE_WITH``.
    counts : dict
        Number of runs by value, in the order of the plan. A run that went on elsewhere has both, ``"a, then b"``.
    """

    column: str
    counts: dict[str, int]

    @property
    def names(self) -> list[str]:
        """All values by themselves, without repetition."""
        return list(dict.fromkeys(part for value in self.counts for part in value.split(_THEN)))

    def __str__(self) -> str:
        told = [f"{value} ({count} run{'s' * (count != 1)})" for value, count in self.counts.items()]
        more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        listed = "; ".join(told[:_MOST_TOLD]) + more
        return f"results of {len(self.names)} {MADE_WITH[self.column]} stand side by side: {listed}"


def made_with(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of ``MADE_WITH`` for one run; all that it went through is joined by ", then "."""
    # Each step says what was before it; going back from the end gives the state of every stretch.
    steps = [(str(step.get("at")), step.get("before")) for step in _steps(provenance, "resumed")]
    steps += [(str(step.get("at")), {"device": step.get("from")}) for step in _steps(provenance, "moved")]
    state = dict(provenance)
    states = [_values(state)]
    for _, before in sorted(steps, key=lambda step: step[0], reverse=True):
        state |= before if isinstance(before, Mapping) else {}
        states.insert(0, _values(state))
    return {column: _THEN.join(dict.fromkeys(_plain(values[column]) for values in states)) for column in MADE_WITH}


def mixtures(rows: Iterable[Mapping[str, Any]]) -> list[Mixture]:
    """Return in what the done runs among ``rows`` of the table differ; empty when in nothing."""
    done = [row for row in rows if row.get("status") == "done"]
    found = []
    for column in MADE_WITH:
        counts = dict(Counter(str(row.get(column) or _UNKNOWN) for row in done))
        mixture = Mixture(column, counts)
        if len(mixture.names) > 1:
            found.append(mixture)
    return found


def _steps(provenance: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    steps = provenance.get(key)
    return [step for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in text[:_MOST_LETTERS])


def _values(facts: Mapping[str, Any]) -> dict[str, str]:
    native = facts.get("native")
    return {
        "made.program": _program(facts),
        "made.native": _native(native) if isinstance(native, Mapping) else _UNKNOWN,
        # Records of the time when there was only the CPU do not say so.
        "made.device": str(facts.get("device", "cpu")),
        "made.cpu": str(facts.get("cpu") or _UNKNOWN),
        **{f"made.{name}": str(facts.get(name) or _UNKNOWN) for name in ("numpy", "scipy", "torch")},
    }


def _program(facts: Mapping[str, Any]) -> str:
    """Version and code: a source checkout changes without its version."""
    version = facts.get("dash_hpc")
    if not version:
        return _UNKNOWN
    code = facts.get("code")
    if code:
        return f"dash-hpc {version} (code {str(code)[:12]})"
    revision, plus, _ = str(facts.get("git") or "").partition("+")
    return f"dash-hpc {version}" + (f" (revision {revision[:12]}{plus and ', changed'})" if revision else "")


def _native(native: Mapping[str, Any]) -> str:
    if not native.get("available"):
        return "Python twins"
    parts = [str(native.get("isa")), f"compiler {native.get('compiler')}"]
    parts += [f"build {str(native['build'])[:12]}"] if native.get("build") else []
    return " ".join(parts)

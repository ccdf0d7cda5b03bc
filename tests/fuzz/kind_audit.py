"""What follows ``dash-hpc audit``: a study of strategy evidence, and changes of its settings."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import click.testing
from kind import Altered, Case, Kind

from dash_hpc.cli.app import app

_STUDY = """\
[study]
name = "audited"
[data]
kind = "simulate"
genes = 10
regulators = 3
edges = 12
trajectories = 12
test_trajectories = 1
expression_noise = 0.02
[sweep]
seeds = [0, 1]
[[strategy]]
name = "none"
[[strategy]]
name = "evidence"
"""
_NUMBERS = ("0", "1", "2", "0.5", "-1", "7", "-3.5", "1e-300", "1e300", "0..1", "[0, 1]", "nan", "1e999")
_WORDS = (
    "none", "mode", "network", "[0, 1, 2, 7.5]", "[0, 0, 1]", "[3, 2, 1]", '["network", "recall"]', "0..1 step 0.5",
    "[]", "{}", '""', '"', "{ folds = 3 }", "files", "true", "auto", "=", "x=y", "\x00", "\x1b[2J", "\udce4",
    "a" * 3000, "[" * 50, "../out", "/dev/null/out",
)  # fmt: skip
#: Of sizes only small ones: a large study is one that its owner asked for.
_SETTINGS = {
    "data.prior_noise": _NUMBERS,
    "data.expression_noise": _NUMBERS,
    "data.starts": ("measured", "smoothed", '["measured", "smoothed"]'),
    "data.seed": _NUMBERS,
    "data.times": ("[0, 1]", "[0, 0.1, 5]", "[0, 1e-300]", "[0, 1e300]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"),
    "data.trajectories": ("1", "2", "3", "11", "40"),
    "data.genes": ("2", "4", "10", "20"),
    "data.regulators": _NUMBERS,
    "data.edges": _NUMBERS,
    "data.time_unit": _NUMBERS,
    "data.validation": _NUMBERS,
    "data.kind": ("files", "catalogue"),
    "sweep.seeds": _NUMBERS,
    "strategy.evidence.mode": ("network", "strict", "recall", "share", "balanced", '["strict", "recall"]'),
    "strategy.evidence.keep": _NUMBERS,
    "strategy.evidence.admit": _NUMBERS,
    "strategy.evidence.alpha": _NUMBERS,
    "strategy.evidence.rounds": _NUMBERS,
    "strategy.evidence.candidates": _NUMBERS,
    "strategy.none.x": _WORDS,
    "training.criterion": ("pairs", "rows"),
    "model.family": ("mlp",),
    "study.output": ("../out", "/dev/null/out", "x\ny"),
    "x": _WORDS,
    "": _WORDS,
}


class Audit(Kind):
    """Words of the command, as a list in JSON."""

    name = "audit's arguments"
    short = 40

    def prepare(self, place: Path) -> None:
        self.study = place / "study.toml"
        self.study.write_text(_STUDY)
        self.folder = place / "out"
        self.usual = self._answer([])
        if self.usual[0] != 0:
            raise RuntimeError(f"refused before anything was changed: {self.usual[1]}")

    def mutate(self, rng: Random) -> Case:
        words = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            key = rng.choice(tuple(_SETTINGS))
            words += ["--set", f"{key}={rng.choice(_SETTINGS[key] if rng.random() < 0.9 else _WORDS)}"]
        if rng.random() < 0.1:
            words.insert(
                rng.randrange(len(words) + 1), rng.choice(("--set", "--json", "--output", "", "-", "--x", "y"))
            )
        return Case("words", json.dumps(words).encode(), forged=True)

    def check(self, case: Case) -> str:
        code, answer = self._answer(json.loads(case.data))
        if code == 2:
            # Of the command line itself the usage may stand above; what is wrong is one line.
            if sum(line.startswith("dash-hpc: error: ") for line in answer.split("\n")) != 1:
                raise Altered(f"not one line says what is wrong: {answer[-300:]!r}")
            return "refused"
        return "equal" if answer == self.usual[1] else "other"

    def _answer(self, words: list[str]) -> tuple[int, str]:
        output = (
            [] if "--output" in words or any("study.output" in word for word in words) else ["--output", self.folder]
        )
        with click.testing.CliRunner().isolated_filesystem(self.study.parent):
            found = click.testing.CliRunner().invoke(app, ["audit", str(self.study), *map(str, output), *words])
        if found.exit_code not in (0, 2) or "internal error" in found.output or "Traceback" in found.output:
            raise RuntimeError(f"{words}: exit code {found.exit_code}: {found.output[-300:]}")
        return found.exit_code, found.output

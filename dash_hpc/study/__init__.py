"""Studies: a TOML file, validated and complete, and the plan of runs that it stands for."""

from __future__ import annotations

from dash_hpc.study.load import load_study, parse_study
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.phases import Phase
from dash_hpc.study.plan import Plan, RunSpec, plan
from dash_hpc.study.refit import refit
from dash_hpc.study.schema import StrategyTable, Study
from dash_hpc.study.stored import check_spec
from dash_hpc.study.strategies import STRATEGIES, total_epochs
from dash_hpc.study.sweep import MAX_RUNS
from dash_hpc.study.templates import starter, starters

__all__ = [
    "MAX_RUNS",
    "STRATEGIES",
    "Phase",
    "Plan",
    "RunSpec",
    "StrategyOptions",
    "StrategyTable",
    "Study",
    "check_spec",
    "load_study",
    "parse_study",
    "plan",
    "refit",
    "starter",
    "starters",
    "total_epochs",
]

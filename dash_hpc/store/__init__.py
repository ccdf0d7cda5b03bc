"""The output folder of a study: one file per run, published as a whole, read as one table."""

from __future__ import annotations

from dash_hpc.store.index import rebuild_index
from dash_hpc.store.network import Network
from dash_hpc.store.plan import is_store, plan_header, planned_ids, planned_spec, write_plan
from dash_hpc.store.publish import (
    canonical_json,
    make_folder,
    publish_bytes,
    publish_json,
    publish_text,
    publishing,
    set_aside,
    sweep_temporaries,
)
from dash_hpc.store.query import Store, open_store
from dash_hpc.store.runfile import RunRecord, RunWriter, compare_runs, read_run
from dash_hpc.store.schema import run_path

__all__ = [
    "Network",
    "RunRecord",
    "RunWriter",
    "Store",
    "canonical_json",
    "compare_runs",
    "is_store",
    "make_folder",
    "open_store",
    "plan_header",
    "planned_ids",
    "planned_spec",
    "publish_bytes",
    "publish_json",
    "publish_text",
    "publishing",
    "read_run",
    "rebuild_index",
    "run_path",
    "set_aside",
    "sweep_temporaries",
    "write_plan",
]

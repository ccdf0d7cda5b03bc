"""The output folder of a study: one file per run, published as a whole, read as one table."""

from __future__ import annotations

from dash_hpc.store.columns import is_reserved, option_column
from dash_hpc.store.compact import Compaction, compact
from dash_hpc.store.compare import compare_records, compare_runs
from dash_hpc.store.evidence import Evidence
from dash_hpc.store.files import FileLayer, FreeSpace, free_space, in_bytes
from dash_hpc.store.index import rebuild_index
from dash_hpc.store.makers import MADE_WITH, Mixture, made_with, mixtures
from dash_hpc.store.network import Network
from dash_hpc.store.plan import is_store, plan_header, planned_ids, planned_spec, write_plan
from dash_hpc.store.publish import (
    canonical_json,
    make_folder,
    publish_bytes,
    publish_json,
    publish_note,
    publish_sealed_text,
    publish_text,
    publishing,
    remove_file,
    set_aside,
    sweep_temporaries,
)
from dash_hpc.store.query import Store, open_store
from dash_hpc.store.runfile import RunRecord, RunWriter, read_run
from dash_hpc.store.scan import find_record
from dash_hpc.store.schema import run_path
from dash_hpc.store.verify import Finding, Verification, verify

__all__ = [
    "MADE_WITH",
    "Compaction",
    "Evidence",
    "FileLayer",
    "Finding",
    "FreeSpace",
    "Mixture",
    "Network",
    "RunRecord",
    "RunWriter",
    "Store",
    "Verification",
    "canonical_json",
    "compact",
    "compare_records",
    "compare_runs",
    "find_record",
    "free_space",
    "in_bytes",
    "is_reserved",
    "is_store",
    "made_with",
    "make_folder",
    "mixtures",
    "open_store",
    "option_column",
    "plan_header",
    "planned_ids",
    "planned_spec",
    "publish_bytes",
    "publish_json",
    "publish_note",
    "publish_sealed_text",
    "publish_text",
    "publishing",
    "read_run",
    "rebuild_index",
    "remove_file",
    "run_path",
    "set_aside",
    "sweep_temporaries",
    "verify",
    "write_plan",
]

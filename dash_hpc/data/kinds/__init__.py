"""The kinds of data that ``[data]`` of a study can name, one file each."""

from __future__ import annotations

from dash_hpc.data.kinds.base import DataKind as DataKind
from dash_hpc.data.kinds.registry import KINDS as KINDS
from dash_hpc.data.kinds.registry import build as build
from dash_hpc.data.kinds.registry import digest as digest
from dash_hpc.data.kinds.registry import foresee as foresee
from dash_hpc.data.kinds.registry import input_folders as input_folders
from dash_hpc.data.kinds.registry import kind_of as kind_of
from dash_hpc.data.kinds.registry import made_bytes as made_bytes

__all__ = ["KINDS", "DataKind", "build", "digest", "foresee", "input_folders", "kind_of", "made_bytes"]

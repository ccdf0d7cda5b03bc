"""Expression data and prior knowledge: readers, published data sets, simulation, splits."""

from __future__ import annotations

from dash_hpc.data.catalogue import CATALOGUE as CATALOGUE
from dash_hpc.data.dataset import DataSet as DataSet
from dash_hpc.data.design import Input as Input
from dash_hpc.data.design import Treatment as Treatment
from dash_hpc.data.kinds import build as build
from dash_hpc.data.kinds import digest as digest
from dash_hpc.data.kinds import foresee as foresee
from dash_hpc.data.kinds import input_folders as input_folders
from dash_hpc.data.kinds import made_bytes as made_bytes
from dash_hpc.data.prior import Prior as Prior
from dash_hpc.data.summary import DataSummary as DataSummary
from dash_hpc.data.summary import level_lines as level_lines
from dash_hpc.data.summary import summarise as summarise
from dash_hpc.data.timecourse import Pairs as Pairs
from dash_hpc.data.timecourse import TimeCourse as TimeCourse
from dash_hpc.data.timecourse import Trajectory as Trajectory

__all__ = [
    "CATALOGUE",
    "DataSet",
    "DataSummary",
    "Input",
    "Pairs",
    "Prior",
    "TimeCourse",
    "Trajectory",
    "Treatment",
    "build",
    "digest",
    "foresee",
    "input_folders",
    "level_lines",
    "made_bytes",
    "summarise",
]

"""In-silico gene-regulation benchmarks: networks, Hill kinetics with fuzzy logic, samples, files."""

from __future__ import annotations

from dash_hpc.data.simulator.generate import random_network as random_network
from dash_hpc.data.simulator.generate import sample_subnetwork as sample_subnetwork
from dash_hpc.data.simulator.graph import Network as Network
from dash_hpc.data.simulator.graph import read_edge_table as read_edge_table
from dash_hpc.data.simulator.insilico import SimulatedSystem as SimulatedSystem
from dash_hpc.data.simulator.insilico import simulate as simulate
from dash_hpc.data.simulator.insilico import write as write
from dash_hpc.data.simulator.integrate import integrate as integrate
from dash_hpc.data.simulator.kinetics import FAMILIES as FAMILIES
from dash_hpc.data.simulator.kinetics import System as System
from dash_hpc.data.simulator.kinetics import draw_kinetics as draw_kinetics
from dash_hpc.data.simulator.kinetics import hill as hill
from dash_hpc.data.simulator.logic import Add as Add
from dash_hpc.data.simulator.logic import And as And
from dash_hpc.data.simulator.logic import Expression as Expression
from dash_hpc.data.simulator.logic import Leaf as Leaf
from dash_hpc.data.simulator.logic import Not as Not
from dash_hpc.data.simulator.logic import Or as Or
from dash_hpc.data.simulator.logic import build_expression as build_expression
from dash_hpc.data.simulator.logic import build_expressions as build_expressions
from dash_hpc.data.simulator.sample import InputModel as InputModel
from dash_hpc.data.simulator.sample import draw_input_model as draw_input_model
from dash_hpc.data.simulator.sample import draw_start as draw_start
from dash_hpc.data.simulator.sample import trajectories as trajectories

__all__ = [
    "FAMILIES",
    "Add",
    "And",
    "Expression",
    "InputModel",
    "Leaf",
    "Network",
    "Not",
    "Or",
    "SimulatedSystem",
    "System",
    "build_expression",
    "build_expressions",
    "draw_input_model",
    "draw_kinetics",
    "draw_start",
    "hill",
    "integrate",
    "random_network",
    "read_edge_table",
    "sample_subnetwork",
    "simulate",
    "trajectories",
    "write",
]

"""The network of a kept model as named edges."""

from __future__ import annotations

from dash_hpc.network.consensus import Consensus as Consensus
from dash_hpc.network.consensus import Likeness as Likeness
from dash_hpc.network.consensus import consensus as consensus
from dash_hpc.network.consensus import consensus_of as consensus_of
from dash_hpc.network.consensus import likeness as likeness
from dash_hpc.network.edges import EdgeTable as EdgeTable
from dash_hpc.network.edges import among_edges as among_edges
from dash_hpc.network.edges import edge_blocks as edge_blocks
from dash_hpc.network.edges import edge_table as edge_table
from dash_hpc.network.edges import edges_of as edges_of
from dash_hpc.network.edges import joined as joined

__all__ = [
    "Consensus",
    "EdgeTable",
    "Likeness",
    "among_edges",
    "consensus",
    "consensus_of",
    "edge_blocks",
    "edge_table",
    "edges_of",
    "joined",
    "likeness",
]

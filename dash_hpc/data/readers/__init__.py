"""Files of expression: the suffix of a file's name says who reads it."""

from __future__ import annotations

from dash_hpc.data.readers.base import Expression as Expression
from dash_hpc.data.readers.base import Genes as Genes
from dash_hpc.data.readers.base import Reader as Reader
from dash_hpc.data.readers.base import ReaderKeys as ReaderKeys
from dash_hpc.data.readers.base import Source as Source
from dash_hpc.data.readers.registry import READERS as READERS
from dash_hpc.data.readers.registry import reader_of as reader_of

__all__ = ["READERS", "Expression", "Genes", "Reader", "ReaderKeys", "Source", "reader_of"]

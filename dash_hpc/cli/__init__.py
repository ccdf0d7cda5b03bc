"""The command line: ``dash-hpc COMMAND``."""

from __future__ import annotations

from dash_hpc.cli.app import app, main

__all__ = ["app", "main"]

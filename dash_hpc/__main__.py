"""``python -m dash_hpc`` is ``dash-hpc``."""

from __future__ import annotations

from dash_hpc.cli import main

if __name__ == "__main__":
    main()

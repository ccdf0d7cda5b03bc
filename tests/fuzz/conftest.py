"""The modules of this folder are plain files, so that the campaign also runs as a script."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("fuzz", "faults"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

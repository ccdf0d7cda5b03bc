"""The campaign's modules are plain files of this folder, so that it also runs as a script."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

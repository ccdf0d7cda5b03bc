"""Collect what ptxas says about the kernels (registers, shared memory, stack, spills) for the module to tell.

python resources.py OUT.cpp OBJECT.o ...   (reads OBJECT.o.log, the output of nvcc -Xptxas -v)
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def name_of(symbol: str) -> str:
    """The name of a kernel as it is registered: block_kernel<TrainEpoch<float>> is train_epoch_f32."""
    found = re.fullmatch(r"_ZN4dash3gpu\d+(block|team)_kernelINS0_(\d+)(\w+)", symbol)
    if found is None:
        return symbol
    length = int(found[2])
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", found[3][:length]).lower()
    precision = "f32" if found[3].startswith("If", length) else "f64"
    return f"{name}_team_{precision}" if found[1] == "team" else f"{name}_{precision}"


def figures(text: str) -> list[dict[str, object]]:
    """One row per kernel and architecture; spills and stack are sums over the functions that it calls."""
    rows: list[dict[str, object]] = []
    function = ""
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            rows.append(
                {"kernel": name_of(found[1]), "architecture": found[2],
                 "registers": 0, "shared_bytes": 0, "stack_bytes": 0, "spill_stores": 0, "spill_loads": 0}
            )  # fmt: skip
        elif found := re.search(r"Function properties for (\w+)", line):
            function = found[1]
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if rows and function:
                for key, value in zip(("stack_bytes", "spill_stores", "spill_loads"), found.groups(), strict=True):
                    rows[-1][key] += int(value)  # type: ignore[operator]
        elif found := re.search(r"Used (\d+) registers", line):
            rows[-1]["registers"] = int(found[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                rows[-1]["shared_bytes"] = int(shared[1])
    return rows


def main() -> None:
    """Write the figures as a string of JSON in C++, and print them as a table."""
    out, *objects = map(Path, sys.argv[1:])
    rows = [row for path in objects for row in figures(Path(f"{path}.log").read_text())]
    text = "namespace dash {\nnamespace gpu {\nextern const char* const kResources;\n"
    text += f'const char* const kResources = R"({json.dumps(rows)})";\n}}\n}}\n'
    out.write_text(text)
    for row in [dict.fromkeys(rows[0], ""), *rows] if rows else []:
        cells = row.values() if any(row.values()) else row.keys()
        sys.stderr.write("  ".join(str(cell).rjust(12) for cell in cells) + "\n")


main()

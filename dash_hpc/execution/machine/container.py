"""Apptainer images: which one this process runs in, and the words that start dash-hpc in one."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dash_hpc.shown import shell_word

__all__ = ["SHA_VARIABLE", "digest_lines", "image_of_this_process", "mounts"]

INFO_VARIABLE = "DASH_HPC_IMAGE_INFO"
"""Set by the image's %environment: the file that says what the image holds."""
SHA_VARIABLE = "DASH_HPC_IMAGE_SHA256"
"""Set by whoever starts the image: SHA-256 of the image file, which cannot be seen from inside."""


def image_of_this_process(environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """Return what is known of the image this process runs in; None outside of any.

    Returns
    -------
    dict or None
        ``path`` (of the image, on the host), ``sha256`` (of the image file, when the job script took it), and what
        the image says of itself: ``flavour``, ``mpi``, ``version``, ``revision``, ``built``, ``content`` (SHA-256 over
        the names and contents of all installed files). Missing facts are left out.
    """
    environ = os.environ if environ is None else environ
    path = environ.get("APPTAINER_CONTAINER") or environ.get("SINGULARITY_CONTAINER") or ""
    facts: dict[str, Any] = {}
    try:
        read = json.loads(Path(environ.get(INFO_VARIABLE) or "/nonexistent").read_text(encoding="utf-8"))
        facts = {str(key): value for key, value in read.items()} if isinstance(read, dict) else {}
    except (OSError, ValueError):
        # Somebody else's image: it has no such file.
        pass
    if not path and not facts:
        return None
    found = {"path": path, "sha256": environ.get(SHA_VARIABLE, ""), **facts}
    return {key: value for key, value in found.items() if value != ""}


def mounts(folders: Iterable[tuple[Path, bool]]) -> list[str]:
    """Return the options of ``apptainer exec`` that show folders at their own paths.

    Parameters
    ----------
    folders : iterable of (Path, bool)
        Absolute path; whether it may be written.
    """
    words = []
    for folder, writable in folders:
        text = str(folder)
        if any(letter in text for letter in ':,"\\'):
            # --bind would break such a path at its colons and commas; --mount reads a line of CSV.
            line = io.StringIO()
            fields = ["type=bind", f"source={text}", f"destination={text}", *([] if writable else ["ro"])]
            csv.writer(line, lineterminator="").writerow(fields)
            words += ["--mount", line.getvalue()]
        else:
            words += ["--bind", text if writable else f"{text}:{text}:ro"]
    return words


def digest_lines(image: str) -> list[str]:
    """Return shell lines that give the image's SHA-256 to the ranks, taken anew by each attempt of a job."""
    word = shell_word(image)
    return [
        "# For the provenance of the runs: the image's SHA-256, which is not to be had inside.",
        f'{SHA_VARIABLE}=$([ ! -f {word} ] || sha256sum <{word} | cut -d " " -f 1)',
        f"export {SHA_VARIABLE}",
    ]

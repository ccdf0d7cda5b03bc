"""``verify``, ``reindex``, ``compact`` and ``rerun``: looking after the output folder of a study."""

from __future__ import annotations

from pathlib import Path

import click

from dash_hpc.cli.common import DONE, FAILED, INTERRUPTED, Command, json_option, parse_device, print_json, say

__all__ = ["compact", "reindex", "rerun", "verify"]

_folder = click.argument("folder", type=click.Path(path_type=Path))


@click.command(cls=Command)
@_folder
@json_option
@click.pass_context
def verify(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Check every byte of a study's folder: checksums, completeness, run ids, plan, index.

    Nothing is changed. Exit codes: 0 all is whole and there; 1 something is damaged; 3 nothing is damaged, but runs of
    the plan are missing or not ended.

    \b
    Example:
      dash-hpc verify results/quick
    """
    from dash_hpc.store import in_bytes
    from dash_hpc.store import verify as check

    found = check(folder)
    code = FAILED if found.damaged else DONE if found.complete else INTERRUPTED
    if as_json:
        print_json(
            {
                "folder": folder,
                "verdict": {DONE: "whole", FAILED: "damaged", INTERRUPTED: "incomplete"}[code],
                "runs": {key: getattr(found, key) for key in ("planned", "done", "failed", "running", "missing")},
                "extra": found.extra,
                "bundles": found.bundles,
                "bytes": found.bytes_read,
                "findings": [{"kind": finding.kind, "text": finding.text} for finding in found.findings],
            }
        )
        ctx.exit(code)
    for finding in found.findings:
        say(f"{finding.kind}: {finding.text}")
    where = f" in their own files and {found.bundles} bundles" if found.bundles else ""
    say(
        f"{folder}: {found.done} done, {found.failed} failed, {found.running} running, {found.missing} missing "
        f"of {found.planned} runs{where}; {in_bytes(found.bytes_read)} checked"
    )
    say({DONE: "whole", FAILED: "DAMAGED", INTERRUPTED: "whole so far, not complete"}[code])
    ctx.exit(code)


@click.command(cls=Command)
@_folder
@json_option
def reindex(folder: Path, as_json: bool) -> None:
    """Write the index (index.h5) anew from the run files and bundles.

    The index only makes opening a large study fast; it may be removed at any time.

    \b
    Example:
      dash-hpc reindex results/quick
    """
    from dash_hpc.errors import StoreError
    from dash_hpc.store import is_store, rebuild_index

    if not is_store(folder) and not (folder / "runs").is_dir():
        raise StoreError(f"{folder}: not the output folder of a study, it has no plan.jsonl")
    count = rebuild_index(folder)
    if as_json:
        print_json({"folder": folder, "runs": count})
    else:
        say(f"{folder}: {count} ended runs in the index")


@click.command(cls=Command)
@_folder
@json_option
def compact(folder: Path, as_json: bool) -> None:
    """Bundle ended runs into few large files (bundles/), for file systems that count files.

    Everything reads bundles as it reads run files, and running the study again skips what is done. A run's own file
    is removed only after its bundle was written, read back and compared. Interrupted, the same command goes on.

    \b
    Example:
      dash-hpc compact results/quick
    """
    from dash_hpc.errors import StoreError
    from dash_hpc.execution.claims.folder import held_by_driver
    from dash_hpc.store import compact as compact_store
    from dash_hpc.store import is_store

    if not is_store(folder):
        raise StoreError(f"{folder}: not the output folder of a study, it has no plan.jsonl")
    # Two at a time might each take the other's bundle for the one that stays.
    with held_by_driver(folder, "compact") as lease:
        done = compact_store(folder)
        lease.check()
    if as_json:
        print_json(
            {
                "folder": folder,
                "runs": done.runs,
                "bundles": done.bundles,
                "files_removed": done.files_removed,
                "problems": done.problems,
            }
        )
        return
    for problem in done.problems:
        say(f"left alone: {problem}")
    say(f"{folder}: {done.runs} runs bundled, {done.bundles} bundles now, {done.files_removed} files removed")


@click.command(cls=Command)
@_folder
@click.argument("run_id", metavar="RUN")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", callback=parse_device, help="As of run.")
@json_option
@click.pass_context
def rerun(ctx: click.Context, folder: Path, run_id: str, device: str, as_json: bool) -> None:
    """Execute one recorded run again in a temporary folder and compare every bit.

    RUN is a run id or its beginning. The folder is only read. Last bits depend on the device, so a run of a GPU is to
    be repeated there. Exit codes: 0 the same bits; 1 something differs.

    \b
    Example:
      dash-hpc rerun results/quick 3f2a
    """
    from dash_hpc.execution.rerun import rerun as repeat

    result = repeat(folder, run_id, device)
    if as_json:
        print_json(
            {
                "run_id": result.run_id,
                "equal": not result.differences,
                "differences": result.differences,
                "circumstances": result.circumstances,
                "status": result.recorded.status,
                "epochs": result.recorded.epochs,
            }
        )
    else:
        for line in result.differences:
            say(f"differs: {line}")
        for line in result.circumstances:
            say(f"circumstances: {line}")
        verdict = "differs from its record" if result.differences else "every bit as recorded"
        say(f"run {result.run_id}: {result.recorded.status}, {result.recorded.epochs} epochs: {verdict}")
    ctx.exit(FAILED if result.differences else DONE)

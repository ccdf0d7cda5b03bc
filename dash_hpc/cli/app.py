"""The group of commands. A command's module is imported when it is called, so that help appears at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

import click

from dash_hpc import __version__
from dash_hpc.cli.common import Command, Group
from dash_hpc.execution.machine.streams import make_safe

__all__ = ["app", "main"]

# Command -> (module, one line for the list of commands); in the order of a first study.
_COMMANDS = {
    "init": ("study", "Write a study file to start from."),
    "run": ("study", "Run a study on all cores of this machine."),
    "submit": ("submit", "Run a study as a job of Slurm."),
    "cancel": ("submit", "Cancel the jobs of a study."),
    "status": ("results", "Show how far a study is."),
    "select": ("results", "Choose a setting by the validation error."),
    "report": ("results", "Write the report of a study."),
    "audit": ("audit", "Hold a prior against the data, without a model."),
    "verify": ("store", "Check every byte of a study's folder."),
    "rerun": ("store", "Repeat one recorded run and compare the bits."),
    "compact": ("store", "Bundle ended runs into few large files."),
    "reindex": ("store", "Write the index of a study's folder anew."),
    "simulate": ("simulate", "Simulate a network and its time courses."),
    "doctor": ("doctor", "Check this installation and this machine."),
}

# For the scripts of ``submit``, not for people.
_HIDDEN = {"job": ("job", "")}


class _Commands(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name) or _HIDDEN.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"dash_hpc.cli.{entry[0]}")
        command: Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in {*_COMMANDS, *_HIDDEN}:
            close = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(_COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="dash-hpc")
def app() -> None:
    """Train gene-regulatory neural ODEs, prune them with domain knowledge, and compare.

    \b
    Example:
      dash-hpc init quick.toml
      dash-hpc run quick.toml

    Exit codes: 0 done; 1 some runs failed; 2 wrong use; 3 interrupted, the same command resumes.
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; ``args`` are the words after ``dash-hpc`` (default: those of this process)."""
    if args is None:
        _take_names_as_bytes()
    make_safe()
    app.main(args=args, prog_name="dash-hpc")


def _take_names_as_bytes() -> None:
    """Start again in Python's UTF-8 mode where the locale says otherwise.

    Names of files then mean the same bytes under every locale: here, in the files of a store, on the hosts of a job.
    """
    mode = ["-X", "utf8"]
    if sys.getfilesystemencoding() != "utf-8" and sys.orig_argv[1:3] != mode:
        os.execv(sys.executable, [sys.executable, *mode, *sys.orig_argv[1:]])

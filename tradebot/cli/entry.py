"""The entry point: arguments in, exit code out, and one clear line for everything foreseeable that goes wrong."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from tradebot.cli.argv import expand
from tradebot.errors import BusyError, TradebotError

# The two classes typer's own exceptions derive from: it brought its own copy of click in 0.2x.
_UsageProblem: type[Exception] = typer.BadParameter.__mro__[1]
_ClickProblem: type[Exception] = typer.BadParameter.__mro__[2]

INTERRUPTED = 130
"""128 + SIGINT, what a shell shows for a command ended by Ctrl-C."""
EXTRAS = {"torch": "deep", "onnxscript": "deep", "psycopg": "postgres", "huggingface_hub": "hub"}
"""Packages outside the base install and the extra that brings them."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code (sysexits; see the README)."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """The exit code of one invocation. ``--debug`` anywhere shows the traceback of what failed."""
    from tradebot.cli.app import app

    arguments = list(argv)
    commands = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in commands
    if debug:
        arguments.remove("--debug")
    try:
        code = app(expand(arguments), prog_name="tradebot", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:
        # typer turns a closed pipe into an exit of its own
        if isinstance(stop.__context__, BrokenPipeError):
            return _reader_gone()
        raise
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as stop:
        return stop.exit_code
    except Exception as error:
        if debug:
            raise
        return explain(error)


def _reader_gone() -> int:
    """The reader of our output went away (``| head``): not our failure. Python would complain at exit otherwise."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    return 0


def explain(error: Exception) -> int:
    """Say on stderr what went wrong, one line for each problem, and give the exit code."""
    if isinstance(error, TradebotError):
        say(str(error) or type(error).__name__)
        return error.exit_code
    if isinstance(error, _ClickProblem):
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context and isinstance(error, _UsageProblem) else ""
        text = getattr(error, "format_message", error.__str__)()
        say(text.rstrip(".") + hint)
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package in EXTRAS:
            from tradebot.ops.install import install_extra

            say(f"this needs the package {package!r}: {install_extra(EXTRAS[package])}")
            return 78
    if isinstance(error, MemoryError):
        say("out of memory; ask for less at once (fewer days or symbols, a smaller --batch-size) and try again")
        return BusyError.exit_code
    if isinstance(error, OSError):
        from pathlib import Path

        from tradebot.ops.files import disk_error

        problem = disk_error("use", Path(error.filename), error) if isinstance(error.filename, str) else None
        say(str(problem) if problem else f"{error.strerror or error}")
        return problem.exit_code if problem else 1
    say(f"unexpected {type(error).__name__}: {error} (a defect; run again with --debug to see where)")
    return 1


def say(text: str) -> None:
    """Lines for a person on stderr, under the program's name."""
    for line in text.splitlines():
        sys.stderr.write(f"tradebot: {line}\n")
    sys.stderr.flush()

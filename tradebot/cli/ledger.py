"""The ledger beside the journal: computed again, compared with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli.counting import Counting
from tradebot.cli.options import ConfigOption, JsonOption, StateOption, nothing_yet, settings_of, state_of
from tradebot.cli.output import json_line, line, paint, progress, table

if TYPE_CHECKING:
    from tradebot.journal import JournalReader
    from tradebot.ledger import Ledger

app = typer.Typer(
    help="The SQL tables that are computed from the journal.", no_args_is_help=True, rich_markup_mode=None
)


@contextlib.contextmanager
def _both(state: Path | None, config: Path | None) -> Iterator[tuple[Path, Ledger, JournalReader]]:
    """State directory, ledger and journal. Raises DataError when there is no journal."""
    from tradebot.journal import JournalReader, journal_directory
    from tradebot.ledger import Ledger

    folder = state_of(state, config)
    reader = JournalReader(journal_directory(folder))
    if not reader.epochs():
        raise nothing_yet("there is no journal yet", folder, "journal", "'tradebot run' writes it")
    with contextlib.closing(Ledger(settings_of(config, {"state_dir": str(folder)}).settings.ledger_url)) as ledger:
        yield folder, ledger, reader


@app.command()
def rebuild(
    forget: Annotated[
        bool, typer.Option("--forget", help="Also when the journal no longer holds runs that the ledger knows.")
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Compute the ledger again from the journal. The bot must be stopped.

    The new ledger takes the old one's place when it is complete; Ctrl-C before leaves everything as it was.
    """
    from tradebot.journal import state_lock
    from tradebot.ledger import rebuild as rebuild_ledger

    with _both(state, config) as (folder, ledger, reader), state_lock(folder), Counting("records", 0) as counting:
        records = rebuild_ledger(ledger, reader, forget=forget, progress=counting.of)
    if as_json:
        json_line({"records": records, "ledger": str(ledger)})
    else:
        line(f"{ledger}: computed again from {records:,} records")


@app.command()
def verify(as_json: JsonOption = False, state: StateOption = None, config: ConfigOption = None) -> None:
    """Compare every row of the ledger with the journal, as far as it has read it. Exit code 1 when something differs.

    The bot may be running. Runs that the journal no longer holds are left out.
    """
    from tradebot.ledger import verify as verify_ledger

    with _both(state, config) as (_, ledger, reader), Counting("records", 0) as counting:
        found = verify_ledger(ledger, reader, progress=counting.of)
    if as_json:
        json_line(found)
    else:
        rows = sum(found.rows.values())
        verdict = f"{found.mismatches:,} rows DIFFER" if found.mismatches else "equal"
        line(
            f"{rows:,} rows against {found.records:,} records: {paint(verdict, 'bad' if found.mismatches else 'good')}"
        )
        if found.left_out:
            progress(f"{found.left_out:,} rows are of runs that the journal no longer holds from their beginning")
        if found.first:
            table(
                ("table", "row", "ledger", "journal"),
                [
                    (one.table, _told(one.key), _told(one.ledger) or "-", _told(one.journal) or "-")
                    for one in found.first
                ],
            )
    if found.mismatches:
        raise typer.Exit(1)


def _told(values: dict[str, object] | None) -> str:
    return " ".join(f"{name}={value}" for name, value in (values or {}).items())

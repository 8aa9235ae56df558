"""The books of a month: what was traded, paid and earned."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradebot.cli.options import ConfigOption, JsonOption, StateOption, nothing_yet, state_of
from tradebot.cli.output import json_line, line, paint, progress, table
from tradebot.cli.signals import ledger_of
from tradebot.cli.times import iso, parse_time
from tradebot.errors import DataError, UsageError

if TYPE_CHECKING:
    from tradebot.ledger import Ledger, Statement

DAY_MS = 86_400_000
Table = Literal["days", "trades", "strategies", "models", "fees", "funding"]
TABLES: tuple[Table, ...] = ("days", "strategies", "models", "trades", "fees", "funding")
_TIMES = {"from_ms": "from", "until_ms": "until", "opened_ms": "opened", "closed_ms": "closed", "ts_ms": "time"}
_SHOWN: dict[Table, tuple[str, ...]] = {
    "days": (
        "from", "equity_start", "realised", "fees", "funding", "unrealised_change", "net", "transfers", "other",
        "equity_end", "fills",
    ),
    "strategies": ("name", "trades", "won", "realised", "fees", "funding", "net"),
    "models": ("name", "symbol", "version", "trades", "won", "realised", "fees", "funding", "net"),
    "trades": (
        "opened", "closed", "symbol", "side", "entered_qty", "entry_price", "exit_price", "realised", "fees", "funding",
        "net", "net_bp", "end", "strategy", "model", "version",
    ),
    "fees": ("symbol", "role", "fills", "notional", "fee"),
    "funding": ("time", "symbol", "amount", "trade_id"),
}  # fmt: skip
"""Columns that a person is shown; ``--csv`` and ``--json`` have all."""
_LEFT = {
    "name",
    "version",
    "symbol",
    "side",
    "end",
    "strategy",
    "model",
    "role",
    "trade_id",
    "from",
    "opened",
    "closed",
    "time",
}

_NAMELESS = {"strategies": "(no strategy)", "models": "(no model)"}
"""Whose lines these are: what belongs to no trade of ours, adopted trades, and for models trades without one."""

Row = dict[str, Any]


def report(
    month: Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="A month, UTC.")] = None,
    day: Annotated[str | None, typer.Option("--day", metavar="DAY", help="'2026-10-05', 'today', 'yesterday'.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="'2026-10-05', '7d ago' (UTC).")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until before this time.")] = None,
    only: Annotated[Table | None, typer.Option("--table", help="One table alone.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", help="Runs of this mode; else of the newest one.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values, all columns.")] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Daily profit and loss, trades, fees and funding, of the newest month unless told otherwise.

    Days are UTC. Each balance follows from the one before: realised profit, fees, funding, transfers, and what the
    ledger does not know the reason of (other). Also by strategy and by version of the model. With --csv all tables
    follow each other, each under its own header and named in the first column; with --table one comes alone.
    """
    if as_csv and as_json:
        raise UsageError("--csv or --json, not both")
    for text in filter(None, (start, end)):
        parse_time(text, 0)  # what is no time is told before anything else
    named = _named_span(month, day, start, end)
    folder = state_of(state, config)
    with ledger_of(folder, config) as ledger:
        if ledger is None:
            raise nothing_yet("there is no ledger yet", folder, "ledger.sqlite", "'tradebot run' writes it")
        found = _of(ledger, named, (month, day, start, end), mode)
    if found.left_out:
        progress(f"mode {found.mode}; runs of mode {', '.join(found.left_out)} are left out (--mode)")
    chosen = TABLES if only is None else (only,)
    if as_json:
        _print_json(found, chosen)
    elif as_csv:
        _print_csv(found, chosen, alone=only is not None)
    else:
        _print_pages(found, chosen)


def _named_span(month: str | None, day: str | None, start: str | None, end: str | None) -> tuple[int, int] | None:
    """The month or day that was asked for; None for a range or nothing. Raises UsageError."""
    if sum((month is not None, day is not None, start is not None or end is not None)) > 1:
        raise UsageError("name a month, a day, or a range with --from and --to")
    if month is not None:
        match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", month.strip(), re.ASCII)
        if match is None or int(match[1]) < 1970:
            raise UsageError(f"{month!r} is not a month; write it as 2026-10")
        return _month(int(match[1]), int(match[2]))
    if day is not None and not _relative(day):
        from_ms = parse_time(day, 0)
        if from_ms % DAY_MS:
            raise UsageError(f"{day!r} is not a day; write '2026-10-05', 'today' or 'yesterday'")
        return from_ms, from_ms + DAY_MS
    return None


def _month(year: int, number: int) -> tuple[int, int]:
    begins = parse_time(f"{year:04}-{number:02}-01", 0)
    following = f"{year + 1:04}-01-01" if number == 12 else f"{year:04}-{number + 1:02}-01"
    return begins, parse_time(following, 0)


def _relative(day: str) -> bool:
    return day.strip().lower() in ("today", "yesterday")


def _of(ledger: Ledger, span: tuple[int, int] | None, asked: tuple[str | None, ...], mode: str | None) -> Statement:
    """The statement. Relative times count back from the newest thing in the ledger: a demo's clock is the market's."""
    from tradebot.ledger import known_span, statement

    known = known_span(ledger)
    if known is None:
        raise DataError(f"the ledger {ledger} is empty")
    month, day, start, end = asked
    if span is None and day is not None:
        from_ms = parse_time(day, known[1])
        span = from_ms, from_ms + DAY_MS
    elif span is None and (start is not None or end is not None):
        until = parse_time(end, known[1]) if end is not None else known[1] + 1
        span = parse_time(start, known[1]) if start is not None else known[0], until
    elif span is None:
        span = _month(*map(int, iso(known[1])[:7].split("-")))
    from_ms, until_ms = span
    if from_ms >= until_ms:
        raise UsageError(f"the range is empty: from {iso(from_ms)} to {iso(until_ms)}")
    if until_ms <= known[0] or from_ms > known[1]:
        what = month or f"{iso(from_ms)} to {iso(until_ms)}"
        raise DataError(f"no data of {what}: the ledger reaches from {iso(known[0])} to {iso(known[1])}")
    return statement(ledger, from_ms, until_ms, mode)


def _rows(found: Statement, name: Table) -> list[Row]:
    """A table's rows with times as people read them."""
    import msgspec

    rows = []
    for one in getattr(found, name):
        values = msgspec.structs.asdict(one)
        rows.append({_TIMES.get(key, key): _moment(value) if key in _TIMES else value for key, value in values.items()})
    return rows


def _moment(ms: int) -> str:
    return iso(ms) if ms else ""


def _print_json(found: Statement, chosen: Sequence[Table]) -> None:
    json_line({"table": "total", "mode": found.mode, **_plain(found.total)})
    for name in chosen:
        for one in getattr(found, name):
            json_line({"table": name, **_plain(one)})


def _plain(one: Any) -> Row:
    """Its values; amounts in plain digits, and nothing as 0 whatever its digits."""
    import msgspec

    values = msgspec.structs.asdict(one)
    return {key: _exact(value) if isinstance(value, Decimal) else value for key, value in values.items()}


def _print_csv(found: Statement, chosen: Sequence[Table], *, alone: bool) -> None:
    for number, name in enumerate(chosen):
        rows = _rows(found, name)
        header = [] if alone else ["table"]
        cells = [[*([] if alone else [name]), *map(_exact, row.values())] for row in rows]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[*header, *_columns(name)], *cells])
        line(("\n" if number else "") + text.getvalue().rstrip("\n"))


def _columns(name: Table) -> list[str]:
    from tradebot.ledger import books

    kinds = {
        "days": books.Day, "trades": books.Trade, "strategies": books.Share, "models": books.Share, "fees": books.Fees,
        "funding": books.Funding,
    }  # fmt: skip
    return [_TIMES.get(field, field) for field in kinds[name].__struct_fields__]


def _exact(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f") if value else "0"
    return "" if value is None else value


def _print_pages(found: Statement, chosen: Iterable[Table]) -> None:
    total = found.total
    line(f"{iso(total.from_ms)} to {iso(total.until_ms)} UTC, mode {found.mode}, USDT")
    line(
        f"equity {total.equity_start:,.2f} -> {total.equity_end:,.2f}, net {_money(total.net)}: realised "
        f"{_money(total.realised)}, fees {_money(total.fees)}, funding {_money(total.funding)}, unrealised "
        f"{_money(total.unrealised_change)}; transfers {_money(total.transfers)}, other {_money(total.other)}"
    )
    for name in chosen:
        rows = _rows(found, name)
        line()
        line(paint(name.upper(), "bold"))
        if not rows:
            line("none")
            continue
        shown = _SHOWN[name]
        table(
            [column.replace("_", " ") for column in shown],
            [[_cell(name, row, column) for column in shown] for row in rows],
            right=[i for i, column in enumerate(shown) if column not in _LEFT],
        )


def _cell(name: Table, row: Row, column: str) -> str:
    """A cell as people read it; what is empty says why: it is open yet, or nothing is there."""
    value = row[column]
    if column == "from":
        return str(value).removesuffix(" 00:00:00")
    if column == "name":
        return value or _NAMELESS[name]
    if column == "net_bp":
        return "-" if value is None else f"{value:+.2f}"
    if column in ("entered_qty", "entry_price", "exit_price"):
        return "-" if value is None else f"{value:.10g}"
    if isinstance(value, Decimal):
        return _money(value) if column not in ("equity_start", "equity_end", "notional") else f"{value:,.2f}"
    return str(value) or ("open" if column in ("closed", "end") else "-")


def _money(value: Decimal) -> str:
    return f"{value:+,.4f}"

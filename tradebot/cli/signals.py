"""Reading the signal audit: every decision, also those not to act."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradebot.cli.options import (
    ConfigOption,
    JsonOption,
    StateOption,
    StoreOption,
    nothing_yet,
    settings_of,
    state_of,
)
from tradebot.cli.output import json_line, line, paint, pairs, progress, table
from tradebot.cli.signal_lines import VERDICT_STYLE, Record, Versions, checks_of, decision_line
from tradebot.cli.times import iso, iso_ms, parse_time, wall_ms
from tradebot.errors import DataError

if TYPE_CHECKING:
    from tradebot.daemon.replay import Replayed
    from tradebot.ledger import OrderRow

app = typer.Typer(help="What the bot decided, and why.", no_args_is_help=True, rich_markup_mode=None)

_SIDES = {"enter_long": "long", "enter_short": "short"}


Told = tuple[Record, list[str]]
"""A decision, and the lines that stand before it."""
MOST_LINES = 1_000_000
AUDIT = "audit/signals.jsonl"
JOURNAL = "journal"


def decided(state: Path | None, config: Path | None, part: str = AUDIT) -> Path:
    """The state directory, where decisions were recorded. Raises DataError when ``part`` of it is not there yet."""
    folder = state_of(state, config)
    if not (folder / part).exists():
        what = "there is no journal yet" if part == JOURNAL else "no decision has been recorded yet"
        raise nothing_yet(what, folder, part, "'tradebot run' records them")
    return folder


@app.command()
def tail(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new ones until Ctrl-C.")] = False,
    count: Annotated[
        int, typer.Option("-n", "--lines", min=0, max=MOST_LINES, help="How many of the newest (0: all).")
    ] = 20,
    symbols: Annotated[list[str] | None, typer.Option("--symbol", metavar="SYMBOL…")] = None,
    side: Annotated[Literal["long", "short", "exit", "hold"] | None, typer.Option("--side")] = None,
    verdict: Annotated[Literal["pass", "shrink", "block"] | None, typer.Option("--verdict")] = None,
    acted: Annotated[bool, typer.Option("--acted", help="Leave out decisions to hold.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="'1h ago', 'today', '2025-11-03 14:00' (UTC). In a demo relative "
                     "times count back from its newest decision."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME")] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """The newest decisions, oldest first."""
    from tradebot.ops.audit import follow_audit, read_audit

    for text in filter(None, (since, until)):
        parse_time(text, 0)  # what is no time is told before anything else
    path = decided(state, config) / AUDIT
    now_ms = _reference_ms(path) if since or until else 0
    start_ms = parse_time(since, now_ms) if since else None
    end_ms = parse_time(until, now_ms) if until else None

    def near(record: Record) -> bool:
        ts_ms = int(record.get("ts_ms", 0))
        return (
            (not symbols or record.get("symbol") in symbols)
            and (start_ms is None or ts_ms >= start_ms)
            and (end_ms is None or ts_ms < end_ms)
        )

    def wanted(record: Record) -> bool:
        action = str(record.get("action", ""))
        return (
            "decision_id" in record
            and near(record)
            and (side is None or _SIDES.get(action, action) == side)
            and (verdict is None or record.get("verdict") == verdict)
            and not (acted and action == "hold")
        )

    versions, news = Versions(), list[str]()

    def chosen(records: Iterable[Record]) -> Iterator[Told]:
        """What is wanted, each with the versions that have taken over since the one before, whatever decided then."""
        for record in records:
            told = versions.takeover(record)
            if told and near(record) and not as_json:
                news.append(told)
            if wanted(record):
                yield record, news.copy()
                news.clear()

    def show(record: Record, before: Iterable[str]) -> None:
        for told in before:
            line(told)
        if as_json:
            json_line(record)
        else:
            line(decision_line(record))

    # with a start, everything since then is asked for unless a count is named as well
    limit = 0 if since is not None and count == 20 else count
    matching = _newest(chosen(read_audit(path)), limit)
    for record, before in matching:
        show(record, before)
    if not follow:
        if not matching:
            progress("no decision matches")
        for told in news if matching else ():
            line(told)
        return
    for record, before in chosen(follow_audit(path)):
        show(record, before)


def _newest(records: Iterable[Told], count: int) -> list[Told]:
    from collections import deque

    return list(deque(records, maxlen=count or None))


def _reference_ms(path: Path) -> int:
    """What relative times count back from: now, or in a demo, whose clock is the market's, the newest decision."""
    from tradebot.ops.audit import follow_audit

    last = next(follow_audit(path, last=1, stop=lambda: True), None)
    return int(last["ts_ms"]) if last is not None and last.get("mode") == "demo" else wall_ms()


def _answer(said: Record) -> list[object]:
    """What one of several models said, or why it said nothing."""
    named = [said["model"], said.get("version") or "-", str(said.get("sha256") or "-")[:12]]
    if said.get("missing"):
        return [*named, said["missing"], "", ""]
    return [*named, f"{said['expected_bp']:+.4f}", f"{said['p_up']:.4f}", f"{said['p_down']:.4f}"]


def _find(state: Path, config: Path | None, decision_id: str) -> Record:
    """A decision from the audit, or from the ledger where the audit's files have been rotated away."""
    from tradebot.ops.audit import read_audit

    found = next((r for r in read_audit(state / AUDIT) if r.get("decision_id") == decision_id), None)
    if found is None:
        import msgspec

        from tradebot.ledger import signal

        with ledger_of(state, config) as ledger:
            row = signal(ledger, decision_id) if ledger is not None else None
        if row is None:
            raise DataError(f"{state}: no decision {decision_id!r} (see 'tradebot signals tail')")
        found = msgspec.to_builtins(row, enc_hook=str)
    return found


def ledger_of(state: Path, config: Path | None) -> Any:
    """The ledger of a state directory as a context, None inside when there is none."""
    import contextlib

    from tradebot.ledger import Ledger

    settings = settings_of(config, {"state_dir": str(state)}).settings

    @contextlib.contextmanager
    def opened() -> Iterator[Ledger | None]:
        if settings.ledger.url is None and not (state / "ledger.sqlite").is_file():
            yield None
            return
        with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
            yield ledger

    return opened()


STOPS = {"pos_loss": "position stop", "psl": "position stop", "loss_plan": "preset stop", "sl": "preset stop"}
_OVER = frozenset({"executed", "cancelled", "canceled", "fail_execute", "rejected"})


def order_rows(orders: Iterable[OrderRow]) -> Iterator[tuple[object, ...]]:
    """An order and the stops of its position as rows: what, side, price, quantity, placed, confirmed, fate, fills."""
    rows = list(orders)
    closes = "sell" if rows and rows[0].side == "buy" else "buy"
    heard = any(STOPS.get(row.order_type) == "preset stop" for row in rows)
    for row in rows:
        if row.kind == "stop":
            what = STOPS.get(row.order_type, "position stop")  # one that was placed and not heard of is a position's
            fate = f"{row.status} {iso_ms(row.updated_ms)}" if row.status in _OVER else row.status
            fate += f" ({row.reason})" if row.reason else ""
            confirmed = iso_ms(row.confirmed_ms) if row.confirmed_ms is not None else "never"
            yield (
                what, row.side or closes, row.trigger_price, "all", iso_ms(row.ts_ms), confirmed, fate, "", "",
                row.client_oid or row.order_id,
            )  # fmt: skip
            continue
        status = row.status + (f" ({row.reason})" if row.reason else "")
        yield (
            row.purpose or row.kind, row.side, row.price or row.order_type, row.qty, iso_ms(row.ts_ms), "", status,
            row.filled_qty, row.avg_price or "", row.client_oid or row.order_id,
        )  # fmt: skip
        if row.preset_stop is not None and not heard:
            yield "preset stop", closes, row.preset_stop, "all", "with the order", "not heard of", "", "", "", ""


@app.command()
def show(
    decision_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOption = False,
    state: StateOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """One decision: forecast, model, every risk check with value and limit, its order and fills, and what came of it.

    Latency is from the candle's close to the decision, to its first execution, until that was heard of. The outcome is
    where the middle of the book was when the forecast's time was up, as the next decision in the symbol saw it; the
    trade that the decision opened or closed is told with its net result.

    Of an entry also the stops of the position that it opened: which price triggers them, when each was placed, when it
    was confirmed live on the exchange, and what became of it.
    """
    import msgspec

    from tradebot.cli.aftermath import aftermath_pairs, horizon_of, latency_ms, outcome
    from tradebot.ledger import last_fills, orders_of
    from tradebot.ledger.aftermath import trade_of
    from tradebot.market.candle import INTERVAL_MS

    folder = decided(state, config)
    record = _find(folder, config, decision_id)
    fills, orders, trade, came = [], [], None, None
    with ledger_of(folder, config) as ledger:
        if ledger is not None:
            came = outcome(record, ledger, horizon_of(record, _store(folder, store, config)))
            trade = trade_of(ledger, decision_id)
        if ledger is not None and record.get("client_oid"):
            fills = last_fills(ledger, limit=1000, client_oid=str(record["client_oid"]))[::-1]
            orders = orders_of(ledger, str(record["client_oid"]))
    latency = latency_ms(record, INTERVAL_MS[settings_of(config).settings.trading.interval], fills)
    told = msgspec.to_builtins({"orders": orders, "fills": fills, "trade": trade}, enc_hook=str)
    if as_json:
        json_line({**record, **told, "latency_ms": latency, "outcome": came})
        return
    verdict = str(record["verdict"])
    line(
        f"{paint(str(record['symbol']), 'bold')} {record['action']}  "
        f"{paint(verdict, VERDICT_STYLE.get(verdict))}  {iso(int(record['ts_ms']))} UTC  mode {record['mode']}"
    )
    line(str(record["reason"]))
    if record.get("provisional"):
        line(paint("provisional model: not proven better than the baseline net of costs", "warn"))
    line()
    expected, p_up, p_down = record.get("expected_bp"), record.get("p_up"), record.get("p_down")
    forecast = (
        f"{expected:+.4f} bp, P(up) {p_up:.4f}, P(down) {p_down:.4f}"
        if expected is not None and p_up is not None and p_down is not None
        else "none"
    )
    pairs(
        [
            ("decision", record["decision_id"]),
            ("strategy", record.get("strategy", "")),
            ("asked by", record.get("hook") or "-"),
            ("forecast", forecast),
            ("model", f"{record.get('model') or '-'} {record.get('version', '')} {record.get('model_sha256', '')}"),
            ("features", record.get("row_hash") or "-"),
            ("bid / ask", f"{record.get('bid')} / {record.get('ask')}"),
            ("position", record.get("position_qty")),
            ("sent", f"{record['qty']} as {record['client_oid']}" if record.get("client_oid") else "nothing"),
            *aftermath_pairs(latency, came, told["trade"]),
        ]
    )
    if len(record.get("models") or ()) > 1:
        line()
        table(["model", "version", "sha256", "expected bp", "P(up)", "P(down)"], map(_answer, record["models"]))
    if record.get("checks"):
        line()
        table(["check", "seen", "allowed", "verdict"], checks_of(record))
    if orders:
        line()
        line(paint("ORDERS", "bold"))
        table(
            [
                "order", "side", "price / trigger", "qty", "placed (UTC)", "confirmed live", "status", "filled",
                "average", "id",
            ],
            order_rows(orders),
            right=[2, 3, 7, 8],
        )  # fmt: skip
    if fills:
        line()
        table(
            ["fill (UTC)", "side", "qty", "price", "fee", "realised", "trade"],
            [(iso(f.ts_exchange_ms), f.side, f.qty, f.price, f.fee, f.realised, f.trade_id) for f in fills],
            right=[2, 3, 4, 5],
        )


@app.command("replay")
def replay_signal(
    decision_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOption = False,
    state: StateOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Recompute one decision from the journal, and its forecast from the model file, and compare.

    The decision byte for byte, with the engine itself; the forecast bit for bit, with the model of that SHA-256, where
    processor and runtime are those of the run, else within a tolerance that is named. A model that was deleted is told
    as that. Exit code 1 when something differs. Under another version of the engine or the strategy it is a what-if:
    then differences are shown and are no failure.
    """
    from tradebot.daemon.replay import replay

    folder = decided(state, config, JOURNAL)
    strategies = settings_of(config).settings.strategies_dir
    report = replay(folder, strategies, decision_id, store=_store(folder, store, config))
    if as_json:
        json_line(report)
    else:
        _show_replay(f"decision {decision_id}", report)
    if report.differs:
        raise typer.Exit(1)


@app.command()
def verify(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Runs that lasted longer than this: '7d ago', '2025-11-03' (UTC); "
                     "default: all of the journal. In a demo relative times count back from its newest decision."),
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Recompute every decision and every forecast of whole runs, as 'signals replay' does one.

    One line for each run. Exit code 1 when anything differs, and the first difference is named.
    """
    from tradebot.cli.counting import Counting
    from tradebot.daemon.replay import Progress
    from tradebot.daemon.replay import verify as verified

    if since is not None:
        parse_time(since, 0)  # what is no time is told before anything else
    folder = decided(state, config, JOURNAL)
    since_ms = parse_time(since, _reference_ms(folder / AUDIT)) if since is not None else 0
    found: list[Replayed] = []
    with Counting("verify", 100) as counting:

        def tell(progress: Progress) -> None:
            percent = int(100 * progress.done / max(progress.total, 1))
            if percent > counting.done:
                counting.of(percent, 100)

        strategies = settings_of(config).settings.strategies_dir
        for report in verified(folder, strategies, _store(folder, store, config), since_ms, tell):
            found.append(report)
            if as_json:
                json_line(report)
            else:
                when = f"run {report.epoch} of {iso(report.started_ms)}: {report.decisions:,} decisions"
                _show_replay(when, report)
    if not found:
        raise DataError(f"{folder}: the journal has no decisions" + (f" since {since}" if since is not None else ""))
    differing = [report for report in found if report.differs]
    if not as_json:
        decisions, forecasts = sum(r.decisions for r in found), sum(r.forecasts.asked for r in found)
        wrong = sum(r.mismatches + r.forecasts.differing for r in differing)
        line(f"{len(found):,} runs, {decisions:,} decisions, {forecasts:,} forecasts: {wrong:,} mismatches")
    if differing:
        first = differing[0]
        progress(f"run {first.epoch} differs: {first.first_mismatch or first.forecasts.first}")
        raise typer.Exit(1)


def _store(folder: Path, store: Path | None, config: Path | None) -> Path:
    """Where the models of a state directory are: a demo has its own beside its journal."""
    if store is not None:
        return store
    own = folder / "model_store"
    return own if own.is_dir() else settings_of(config).settings.model_store


def _show_replay(what: str, report: Replayed) -> None:
    if report.mismatches:
        kind = "what-if" if report.what_if else "DIFFERS"
        line(f"{what}: {paint(kind, 'warn' if report.what_if else 'bad')} in {report.mismatches:,} records")
        line(f"  first: {report.first_mismatch}")
    else:
        line(f"{what}: {paint('equal byte for byte', 'good')} ({report.inputs:,} events replayed)")
    asked = report.forecasts
    if asked.asked:
        to = "bit for bit" if asked.bitwise else f"within {asked.tolerance:g} (another processor or runtime)"
        equal = f"{asked.asked - asked.differing:,} of {asked.asked:,} equal {to}"
        line(f"  forecasts: {paint(equal, 'bad' if asked.differing else 'good')}")
    if asked.differing:
        line(f"  first: {asked.first}")
    for reason, count in asked.unasked.items():
        line(f"  {count:,} forecasts not recomputed: {reason}")
    if report.what_if:
        line(f"  {report.what_if}")
    if report.unrecorded:
        line(f"  {report.unrecorded} records of the last event were not written before the process died")
    line(f"  decisions sha256 {report.decisions_sha256}")

"""What must be equal after a run: what the exchange has, what the engine has, what the ledger has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from tests.e2e.conftest import STRATEGIES
from tests.faults.cases import Case
from tests.faults.world import Run
from tradebot.daemon.app import Daemon
from tradebot.daemon.replay import replay
from tradebot.events import Alert, Decision, FeedStatus, PlaceOrder, Record, TradabilityChanged
from tradebot.journal import JournalReader, journal_directory
from tradebot.ledger import Ledger, schema
from tradebot.market.candle import MINUTE_MS
from tradebot.matching.venue import Venue
from tradebot.sim.faults import KINDS
from tradebot.trading.orders import parse_client_oid

CASH = Decimal(10_000)
EQUAL_WITHIN = Decimal("1e-6")
"""USDT: the two sides round averages at different places."""
GRACE_MS = 60_000
"""How long after a fault began data may still be taken for sound: two moves of the market."""
RECOVERY_MS = 15 * MINUTE_MS
"""How long after a fault ended trading may take to go on, two candles and what is left of a third."""


@dataclass(slots=True)
class Verdict:
    """A run's row in the table. ``problems`` empty: everything is equal and as it should be."""

    case: Case
    seed: int
    injected: int = 0
    noticed: int = 0
    orders: int = 0
    fills: int = 0
    duplicates: int = 0
    blocked: int = 0
    resumed: int = 0
    halts: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def judge(case: Case, seed: int, run: Run) -> Verdict:
    """Look at everything that a run has left."""
    verdict = Verdict(case, seed, seconds=run.seconds, injected=run.injected.get((case.kind, case.scope), 0))
    if run.error:
        verdict.problems.append(run.error)
    if run.daemon is None:
        return verdict
    venue = run.exchange.exchange.venue
    records = [(frame.ts_ms, frame.record) for frame in JournalReader(journal_directory(run.state)).frames()]
    verdict.problems += _accounts_differ(run.daemon, venue, verdict)
    verdict.problems += _behaviour(case, seed, run, records, verdict)
    report = replay(run.state, STRATEGIES)
    if report.mismatches or not report.decisions:
        verdict.problems.append(f"replay: {report.mismatches} of {report.decisions} decisions differ")
    if not verdict.injected:
        verdict.problems.append("the fault never happened")
    shown_by = KINDS[case.kind].noticed.get(case.scope, ())
    verdict.noticed = int(sum(run.metrics.get(name, 0.0) for name in shown_by))
    if shown_by and not verdict.noticed:
        verdict.problems.append(f"the bot noticed nothing: none of {', '.join(shown_by)} rose")
    return verdict


def _accounts_differ(daemon: Daemon, venue: Venue, verdict: Verdict) -> Iterator[str]:
    state = daemon.engine.state
    ledger = Ledger(daemon.settings.ledger_url)
    try:
        with ledger.read() as connection:
            kept_orders = list(connection.execute(sa.select(schema.orders)).mappings())
            kept_fills = list(connection.execute(sa.select(schema.fills)).mappings())
            kept_positions = list(
                connection.execute(sa.select(schema.positions).order_by(schema.positions.c.seq)).mappings()
            )
            kept_balances = list(
                connection.execute(sa.select(schema.balances).order_by(schema.balances.c.seq)).mappings()
            )
            kept_funding = list(connection.execute(sa.select(schema.funding)).mappings())
    finally:
        ledger.close()

    # positions
    theirs = {report.position.symbol: report.position.qty for report in venue.positions()}
    ours = {position.symbol: position.qty for position in state.portfolio.open_positions()}
    newest = {row["symbol"]: row["qty"] for row in kept_positions}
    kept = {symbol: qty for symbol, qty in newest.items() if qty}
    if not theirs == ours == kept:
        yield f"positions: exchange {_plain(theirs)}, engine {_plain(ours)}, ledger {_plain(kept)}"

    # orders
    listed = [order for order in (*venue.open_orders(), *venue.past_orders()) if parse_client_oid(order.client_oid)]
    verdict.orders = len(listed)
    often = Counter(order.client_oid for order in listed)
    verdict.duplicates = sum(count - 1 for count in often.values())
    if verdict.duplicates:
        yield f"orders: {verdict.duplicates} client order ids came twice"
    by_id = {order.order_id: order for order in (*venue.open_orders(), *venue.past_orders())}
    on_exchange = {o.client_oid: (o.order_id, str(o.status), o.filled_qty) for o in listed}
    in_engine = {o.client_oid: (o.order_id, o.status, o.filled_qty) for o in state.orders}
    in_ledger = {
        row["client_oid"]: (row["order_id"], row["status"], row["filled_qty"])
        for row in kept_orders
        if row["kind"] == "order"
    }
    for name, known in (("engine", in_engine), ("ledger", in_ledger)):
        for oid, told in on_exchange.items():
            if known.get(oid) != told:
                yield f"order {oid}: exchange {told}, {name} {known.get(oid)}"
        ghosts = []
        for oid, told in known.items():
            if oid in on_exchange or told[1] == "rejected" or not parse_client_oid(oid):
                continue
            # a flash close has an id of the exchange's own there
            theirs_too = by_id.get(told[0])
            if theirs_too is None or (str(theirs_too.status), theirs_too.filled_qty) != told[1:]:
                ghosts.append(oid)
        if ghosts:
            yield f"orders that only the {name} has: {', '.join(f'{oid} {known[oid][1]}' for oid in ghosts)}"

    # executions
    executed = {execution.trade_id for execution in venue.executions()}
    verdict.fills = len(executed)
    booked = Counter(row["trade_id"] for row in kept_fills)
    if set(booked) != executed:
        yield f"executions: {len(executed - set(booked))} missing in the ledger, {len(set(booked) - executed)} too many"
    if booked and max(booked.values()) > 1:
        yield f"executions: {sum(booked.values()) - len(booked)} booked twice"

    # money
    book = state.portfolio
    in_total = CASH + book.realised + book.fees + book.funding
    if abs(in_total - venue.account.cash) > EQUAL_WITHIN:
        yield f"balance: exchange {venue.account.cash}, engine {in_total}"
    in_books = CASH + sum(row["realised"] + row["fee"] for row in kept_fills) + sum(r["amount"] for r in kept_funding)
    if abs(in_books - venue.account.cash) > EQUAL_WITHIN:
        yield f"balance: exchange {venue.account.cash}, ledger {in_books}"
    heard = kept_balances[-1]["balance"] if kept_balances else None
    if heard is None or abs(heard - venue.account.cash) > EQUAL_WITHIN:
        yield f"balance: exchange {venue.account.cash}, last heard {heard}"

    # stops
    protected = {plan.symbol for plan in venue.live_plans() if plan.plan == "pos_loss"}
    for symbol in theirs:
        if symbol not in protected:
            yield f"{symbol} is held without a stop"
        elif symbol not in state.stops or not state.stops[symbol].confirmed:
            yield f"the stop of {symbol} is not known to the engine"
    orphans = protected - theirs.keys()
    if orphans:
        yield f"stops without a position: {', '.join(sorted(orphans))}"


def _behaviour(case: Case, seed: int, run: Run, records: list[tuple[int, Record]], verdict: Verdict) -> Iterator[str]:
    start_ms, end_ms = run.start_ms + case.start_ms(seed), run.start_ms + case.end_ms(seed)
    sound: dict[str, bool] = {}
    sent: list[tuple[int, PlaceOrder]] = []
    told_bad = 0
    for ts_ms, record in records:
        match record:
            case FeedStatus():
                sound[record.symbol] = record.ok
                told_bad += start_ms <= ts_ms < end_ms and not record.ok
            case Alert():
                verdict.alerts[record.code] += 1
            case Decision() if start_ms <= ts_ms < end_ms:
                refused = record.action.startswith("enter") and record.verdict == "block"
                blind = record.action == "hold" and "market data" in record.reason
                verdict.blocked += refused or blind
            case TradabilityChanged() if record.state == "halted":
                verdict.halts += 1
            case PlaceOrder() if record.purpose == "entry":
                sent.append((ts_ms, record))
                if not sound.get(record.symbol):
                    yield f"{record.symbol}: entry {record.client_oid} while its feed was bad"
            case _:
                pass
    during = [order for ts_ms, order in sent if start_ms + GRACE_MS <= ts_ms < end_ms]
    if case.data == "bad":
        if during:
            yield f"{len(during)} entries while the market data was bad"
        if not verdict.blocked:
            yield "no decision was blocked while the market data was bad"
    if case.data in ("bad", "shaky") and not told_bad:
        yield "no feed was told to be bad"
    if case.data == "good" and told_bad:
        yield f"a feed was told {told_bad} times to be bad, and the market data was sound"
    if verdict.halts and not case.stops and not case.may_halt:
        yield "the bot halted"
    if case.stops and not verdict.halts and not verdict.alerts["foreign"]:
        yield "the bot did not stop"
    after = {order.symbol for ts_ms, order in sent if ts_ms >= end_ms}
    verdict.resumed = sum(ts_ms >= end_ms for ts_ms, _ in sent)
    if not any(start_ms > ts_ms for ts_ms, _ in sent):
        yield "nothing was traded before"
    late = run.start_ms + case.total_min * MINUTE_MS - (end_ms + RECOVERY_MS)
    silent = [symbol for symbol in run.exchange.exchange.markets if symbol not in after]
    if late > 0 and silent:
        state = run.daemon.engine.state if run.daemon is not None else None
        why = f" ({state.tradability}, {state.halt_reason}; {state.foreign}; {state.paused})" if state else ""
        yield f"no entry afterwards in {', '.join(silent)}{why}"


def _plain(sizes: dict[str, Any]) -> str:
    return ", ".join(f"{symbol} {qty}" for symbol, qty in sorted(sizes.items())) or "flat"

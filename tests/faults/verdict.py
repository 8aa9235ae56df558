"""What must be equal after a run: what the exchange has, what the engine has, what the ledger has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.e2e.conftest import STRATEGIES
from tests.faults.accounts import compare
from tests.faults.cases import Case
from tests.faults.world import Run
from tradebot.daemon.replay import replay
from tradebot.events import Alert, Decision, FeedStatus, PlaceOrder, Record, TradabilityChanged
from tradebot.journal import JournalReader, journal_directory
from tradebot.market.candle import MINUTE_MS
from tradebot.sim.faults import KINDS

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
    accounts = compare(run.daemon.engine.state, run.daemon.settings.ledger_url, venue)
    verdict.orders, verdict.fills, verdict.duplicates = accounts.orders, accounts.fills, accounts.duplicated
    verdict.problems += accounts.problems
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

"""The account of a run that has ended: what a demo and a back-test print last, and how they come by it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol, TypedDict

from tradebot.events import RetrainEnded
from tradebot.exchange.bitget.history import earliest_ms
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.jobs import JobResult, moment_of
from tradebot.market.instrument import ZERO, exact
from tradebot.shell.tally import Service, Tally
from tradebot.trading.engine import Engine
from tradebot.trading.state import TradingState

EQUAL_WITHIN = Decimal("1e-6")
"""USDT: the two sides round averages at different places."""

AGREED = {"positions_equal": True, "balance_equal": True, "orders_equal": True}
NOTHING_EARNED: Mapping[str, Any] = {
    "trades": 0, "gross": "0", "fees": "0", "funding": "0", "net": "0", "net_bp_per_trade": None, "positions": [],
}  # fmt: skip


class StoppedSnapshot(TypedDict, total=False):
    """Why entries have stopped in all symbols until a person settles it."""

    symbol: str
    why: str
    since_ms: int
    """When the first such thing was found in the symbol."""
    command: str
    """What settles it, on the command line."""


class CountsSnapshot(TypedDict, total=False):
    """Totals of a run."""

    events: int
    book_updates: int
    candles: int
    forecasts: int
    late_forecasts: int
    dropped_events: int
    signals: int
    blocked: int
    orders: int
    fills: int
    retrains: int
    promotions: int
    swaps: int


NOTHING_COUNTED = CountsSnapshot(
    events=0, book_updates=0, candles=0, forecasts=0, late_forecasts=0, dropped_events=0, signals=0, blocked=0,
    orders=0, fills=0, retrains=0, promotions=0, swaps=0,
)  # fmt: skip


class RoundTrips(Protocol):
    """Trades that have ended: how many, and what one earned (bp of the notional entered with)."""

    @property
    def closed(self) -> int: ...
    def net_bp(self) -> float | None: ...


def totals(tally: Tally, *, events: int, book_updates: int, dropped: int) -> CountsSnapshot:
    """What was counted in a run."""
    return {
        "events": events,
        "book_updates": book_updates,
        "candles": tally.candles,
        "forecasts": tally.forecasts,
        "late_forecasts": tally.late_forecasts,
        "dropped_events": dropped,
        "signals": tally.signals,
        "blocked": tally.blocked,
        "orders": tally.orders,
        "fills": tally.fills,
        "retrains": tally.retrains,
        "promotions": tally.promotions,
        "swaps": tally.swaps,
    }


def earned(engine: Engine, trips: RoundTrips) -> dict[str, Any]:
    """What was earned, USDT: ``net`` = ``gross`` + ``fees`` + ``funding`` (negative when paid), and what is open."""
    book = engine.state.portfolio
    marks = {name: exact(symbol.mark_price()) for name, symbol in engine.symbols.items()}
    return {
        "trades": trips.closed,
        "gross": str(book.realised),
        "fees": str(book.fees),
        "funding": str(book.funding),
        "net": str(book.realised + book.fees + book.funding),
        "net_bp_per_trade": trips.net_bp(),
        "positions": [
            {
                "symbol": p.symbol,
                "qty": str(p.qty),
                "entry_price": str(p.entry_price),
                "unrealised": str(p.unrealised(marks[p.symbol])),
            }
            for p in book.open_positions()
        ],
    }


def stopped(state: TradingState, symbols: Collection[str]) -> list[StoppedSnapshot]:
    """What entries have stopped for until a person settles it; only positions in ``symbols`` can be taken over."""
    found: list[StoppedSnapshot] = []
    for name, why in sorted(state.foreign.items()):
        act = "adopt" if name in symbols or not state.reported_qty(name) else "ignore"
        one: StoppedSnapshot = {"symbol": name, "why": why, "command": f"tradebot {act} {name}"}
        if name in state.disputes:
            one["since_ms"] = state.disputes[name].since_ms
        found.append(one)
    return found


async def compare_with_exchange(
    rest: BitgetRest,
    state: TradingState,
    symbols: Sequence[str],
    *,
    start_equity: Decimal | None,
    started_ms: int,
    now_ms: int,
) -> dict[str, bool]:
    """Our positions, balance and orders against what the exchange says, as far back as it does, after the end."""
    ours = {p.symbol: p.qty for p in state.portfolio.open_positions()}
    theirs = {p.symbol: p.qty for p in await rest.positions()}
    _, account = await rest.account(symbols[0])
    book = state.portfolio
    expected = (start_equity or ZERO) + book.realised + book.fees + book.funding
    listed = {o.client_oid: o for o in await rest.orders_history(since_ms=started_ms, until_ms=now_ms)}
    listed |= {o.client_oid: o for o in await rest.open_orders()}
    orders = [o for o in state.orders if o.status != "rejected" and o.created_ms >= earliest_ms(now_ms)]
    return {
        "positions_equal": ours == theirs,
        "balance_equal": abs(expected - account.balance) < EQUAL_WITHIN,
        "orders_equal": all(
            o.client_oid in listed
            and (o.status, o.filled_qty) == (listed[o.client_oid].status, listed[o.client_oid].filled_qty)
            for o in orders
        ),
    }


def gates(first: Iterable[JobResult], later: Iterable[RetrainEnded]) -> list[dict[str, Any]]:
    """What became of each training: the first models, then the retrains. ``data_to``: when its candles ended (ms UTC;
    None where its job does not tell)."""
    rows = [(r.id, r.symbol, r.model, r.version, True, r.verdict, r.reason) for r in first]
    rows += [(v.job_id, v.symbol, v.model, v.version, False, v.verdict, v.reason) for v in later]
    names = ("job", "symbol", "model", "version", "first", "verdict", "reason")
    return [dict(zip(names, row, strict=True)) | {"data_to": moment_of(row[0])} for row in rows]


def served(services: Iterable[Service]) -> list[dict[str, Any]]:
    """Which version served from when on, and what the trades that it opened came to (``net``: USDT)."""
    return [
        {
            "symbol": s.ref.symbol,
            "model": s.ref.name,
            "version": s.ref.version,
            "provisional": s.ref.provisional,
            "since": s.since_ms,
            "trades": s.trades,
            "net": str(s.net),
        }
        for s in services
    ]


def result(
    *,
    mode: str,
    source: str,
    symbols: Sequence[str],
    from_ms: int,
    to_ms: int,
    decisions_sha256: str,
    counted: CountsSnapshot,
    equity: Decimal | None,
    replay: Mapping[str, int] | None,
    reconcile: Mapping[str, bool],
    gate: Sequence[Mapping[str, str]],
    models: Sequence[Mapping[str, Any]],
    money: Mapping[str, Any],
    stops: Sequence[StoppedSnapshot],
) -> dict[str, Any]:
    """The object. ``replay`` is None where no journal was kept that could be computed again."""
    return {
        "mode": mode,
        "source": source,
        "symbols": list(symbols),
        "from": from_ms,
        "to": to_ms,
        "decisions_sha256": decisions_sha256,
        **counted,
        "equity": None if equity is None else str(equity),
        "replay": None if replay is None else dict(replay),
        "reconcile": dict(reconcile),
        "gate": [dict(row) for row in gate],
        "served": [dict(row) for row in models],
        **money,
        "stopped": [dict(one) for one in stops],
    }

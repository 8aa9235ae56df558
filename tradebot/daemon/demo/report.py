"""What a demo says at its end: what was decided and earned, and whether it agrees with its exchange and its replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tradebot.daemon.app import Daemon
from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.portrait import counts, stopped
from tradebot.daemon.replay import replay as recompute
from tradebot.daemon.snapshot import CountsSnapshot, StoppedSnapshot
from tradebot.daemon.trades import Trades
from tradebot.events import RetrainEnded
from tradebot.journal import DecisionDigest
from tradebot.market.instrument import exact
from tradebot.settings import Settings

EQUAL_WITHIN = Decimal("1e-6")
"""USDT: the two sides round averages at different places."""


def traded(
    demo: Demo, settings: Settings, daemon: Daemon, trades: Trades, reconciled: dict[str, bool], epoch: int
) -> dict[str, Any]:
    """The result of a run that has ended; every decision of ``epoch`` is computed again."""
    report = recompute(settings.state_dir, settings.strategies_dir, epoch=epoch)
    equity = daemon.engine.live_equity()
    return _result(
        demo,
        settings,
        from_ms=daemon.started_ms,
        to_ms=daemon.clock.now_ms(),
        digest=daemon.sequencer.digest,
        total=counts(daemon),
        equity=str(equity) if equity is not None else None,
        replay={"decisions": report.decisions, "mismatches": report.mismatches},
        reconcile=reconciled,
        verdicts=daemon.tally.verdicts,
        money=_money(daemon, trades),
        stops=stopped(daemon.engine.state),
    )


def nothing_traded(demo: Demo, settings: Settings, start_ms: int) -> dict[str, Any]:
    """The result of a run that was stopped while its first model was being trained."""
    same = {"positions_equal": True, "balance_equal": True, "orders_equal": True}
    return _result(
        demo,
        settings,
        from_ms=start_ms,
        to_ms=start_ms,
        digest=DecisionDigest(),
        total=dict.fromkeys(CountsSnapshot.__annotations__, 0),
        equity=None,
        replay={"decisions": 0, "mismatches": 0},
        reconcile=same,
        verdicts=[],
        money={
            "trades": 0, "gross": "0", "fees": "0", "funding": "0", "net": "0", "net_bp_per_trade": None,
            "positions": [],
        },
        stops=[],
    )  # fmt: skip


async def compare_with_exchange(daemon: Daemon) -> dict[str, bool]:
    """Our positions, balance and orders against what the exchange says, after the last event."""
    rest, state = daemon.rest, daemon.engine.state
    ours = {p.symbol: p.qty for p in state.portfolio.open_positions()}
    theirs = {p.symbol: p.qty for p in await rest.positions()}
    _, account = await rest.account(daemon.config.symbols[0])
    book = state.portfolio
    expected = (daemon.start_equity or Decimal(0)) + book.realised + book.fees + book.funding
    listed = {o.client_oid: o for o in await rest.orders_history(since_ms=daemon.started_ms)}
    listed |= {o.client_oid: o for o in await rest.open_orders()}
    orders = [o for o in state.orders if o.status != "rejected"]
    return {
        "positions_equal": ours == theirs,
        "balance_equal": abs(expected - account.balance) < EQUAL_WITHIN,
        "orders_equal": all(
            o.client_oid in listed
            and (o.status, o.filled_qty) == (listed[o.client_oid].status, listed[o.client_oid].filled_qty)
            for o in orders
        ),
    }


def _money(daemon: Daemon, trades: Trades) -> dict[str, Any]:
    """What was earned, USDT: ``net`` = ``gross`` + ``fees`` + ``funding`` (negative when paid), and what is open."""
    book = daemon.engine.state.portfolio
    marks = {name: exact(symbol.mark_price()) for name, symbol in daemon.engine.symbols.items()}
    return {
        "trades": trades.closed,
        "gross": str(book.realised),
        "fees": str(book.fees),
        "funding": str(book.funding),
        "net": str(book.realised + book.fees + book.funding),
        "net_bp_per_trade": trades.net_bp(),
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


def _result(
    demo: Demo,
    settings: Settings,
    *,
    from_ms: int,
    to_ms: int,
    digest: DecisionDigest,
    total: Mapping[str, Any],
    equity: str | None,
    replay: dict[str, int],
    reconcile: dict[str, bool],
    verdicts: Sequence[RetrainEnded],
    money: Mapping[str, Any],
    stops: Sequence[StoppedSnapshot],
) -> dict[str, Any]:
    gate = [(r.id, r.version, r.verdict, r.reason) for r in demo.results]
    gate += [(v.job_id, v.version, v.verdict, v.reason) for v in verdicts]
    return {
        "mode": settings.mode,
        "source": demo.source,
        "symbols": list(settings.symbols),
        "from": from_ms,
        "to": to_ms,
        "decisions_sha256": digest.hexdigest(),
        **total,
        "equity": equity,
        "replay": replay,
        "reconcile": reconcile,
        "gate": [dict(zip(("job", "version", "verdict", "reason"), row, strict=True)) for row in gate],
        **money,
        "stopped": list(stops),
    }

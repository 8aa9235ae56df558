"""How quick a decision was, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradebot.cli.times import iso

if TYPE_CHECKING:
    from tradebot.ledger import FillRow, Ledger

Record = Mapping[str, Any]


def latency_ms(record: Record, interval_ms: int, fills: Iterable[FillRow]) -> dict[str, int | None]:
    """From the candle's close to the decision, from there to the first execution on the exchange, and until it was
    heard of (ms); None where there is none: a decision that a book, a fill or a timer asked for follows no close."""
    decided = int(record["ts_ms"])
    at_close = record.get("hook") in (None, "", "on_candle", "on_forecast")
    first = min(fills, key=lambda fill: fill.ts_exchange_ms, default=None)
    return {
        "decided_after_close": decided % interval_ms if at_close else None,
        "executed_after_decision": first.ts_exchange_ms - decided if first is not None else None,
        "heard_after_execution": first.ts_ms - first.ts_exchange_ms if first is not None else None,
    }


def horizon_of(record: Record, store: Path) -> int | None:
    """How far the decision's model looks (ms), by the manifest of that SHA-256; None: there is no such model."""
    from tradebot.registry import ModelStore

    sha256 = record.get("model_sha256")
    manifests = (listing.manifest for listing in ModelStore(store).listings()) if sha256 else ()
    return next((m.horizon_ms for m in manifests if m is not None and m.sha256 == sha256), None)


def outcome(record: Record, ledger: Ledger, horizon_ms: int | None) -> dict[str, Any] | None:
    """Where the middle of the book was when the forecast's time was up, as the next decision in the symbol saw it.

    None where nothing was forecast; ``moved_bp`` None while its time is not up.
    """
    from tradebot.ledger.aftermath import mid_after

    expected, bid, ask = record.get("expected_bp"), record.get("bid") or 0.0, record.get("ask") or 0.0
    if expected is None or horizon_ms is None or not bid or not ask:
        return None
    due_ms = int(record["ts_ms"]) + horizon_ms
    then = (bid + ask) / 2
    after = mid_after(ledger, str(record["symbol"]), due_ms)
    return {
        "due_ms": due_ms,
        "seen_ms": after.ts_ms if after is not None else None,
        "moved_bp": (after.price / then - 1) * 1e4 if after is not None else None,
        "expected_bp": expected,
    }


def aftermath_pairs(
    latency: Mapping[str, int | None], came: Mapping[str, Any] | None, trade: Mapping[str, Any] | None
) -> Iterator[tuple[str, str]]:
    """All of it as names and values."""
    parts = []
    if latency["decided_after_close"] is not None:
        parts.append(f"{latency['decided_after_close']} ms after the close")
    if latency["executed_after_decision"] is not None:
        parts.append(f"executed {latency['executed_after_decision']} ms later")
        parts.append(f"heard of {latency['heard_after_execution']} ms after that")
    yield "latency", ", ".join(parts) or "-"
    if came is not None and came["moved_bp"] is not None:
        right = "as forecast" if came["moved_bp"] * came["expected_bp"] > 0 else "not as forecast"
        yield "outcome", f"{came['moved_bp']:+.4f} bp until {iso(came['seen_ms'])}: {right}"
    elif came is not None:
        yield "outcome", f"not known before {iso(came['due_ms'])}"
    if trade is not None:
        basis = f" ({trade['net_bp']:+.2f} bp)" if trade["net_bp"] is not None else ""
        ended = f"{trade['end']} {iso(trade['closed_ms'])}" if trade["closed_ms"] else "open"
        yield "trade", f"{trade['trade_id']} {trade['side']}: net {trade['net']}{basis} USDT, {ended}"

"""Candles over REST (protocol sections 6.5 and 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradebot.market.candle import DAY_MS, Candle
from tradebot.sim.granularity import GRANULARITIES, Granularity
from tradebot.sim.params import Params
from tradebot.sim.rest_public import MARKET, one_market
from tradebot.sim.routes import Routes
from tradebot.sim.wire import Refusal, float_text

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

routes = Routes()

MAX_SPAN_MS = 90 * DAY_MS


@routes.get(MARKET + "candles")
def candles(exchange: Exchange, params: Params) -> Any:
    """Recent candles, the running one included; what lies beyond the endpoint's reach is not an error."""
    granularity = _granularity(params)
    oldest = exchange.now_ms - granularity.reach_ms
    rows = _candles(exchange, params, granularity, params.limit(100, 1000), finished=False, oldest_ms=oldest)
    return rows if _line(params) == "market" else _untraded(rows)


@routes.get(MARKET + "history-candles")
def history_candles(exchange: Exchange, params: Params) -> Any:
    """Finished candles of the whole history."""
    rows = _finished(exchange, params)
    return rows if _line(params) == "market" else _untraded(rows)


@routes.get(MARKET + "history-mark-candles")
@routes.get(MARKET + "history-index-candles")
def history_reference_candles(exchange: Exchange, params: Params) -> Any:
    """Mark and index candles have the market's prices, for neither is recorded apart, and no volume."""
    return _untraded(_finished(exchange, params))


def _line(params: Params) -> str:
    return params.choice("kLineType", ("market", "mark", "index"), "market")


def _untraded(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [(*row[:5], "0", "0") for row in rows]


def _finished(exchange: Exchange, params: Params) -> list[tuple[str, ...]]:
    return _candles(exchange, params, _granularity(params), params.limit(100, 200), finished=True, oldest_ms=0)


def _granularity(params: Params) -> Granularity:
    granularity = GRANULARITIES.get(params.required("granularity"))
    if granularity is None:
        raise Refusal("400171", "Parameter verification failed granularity")
    return granularity


def _candles(
    exchange: Exchange, params: Params, granularity: Granularity, limit: int, *, finished: bool, oldest_ms: int
) -> list[tuple[str, ...]]:
    """Rows with startTime ≤ row start ≤ endTime, oldest first; of too many, those nearest endTime (section 6.5)."""
    market = one_market(exchange, params)
    now_ms = exchange.now_ms
    start = params.integer("startTime")
    end = params.integer("endTime")
    if start is not None and end is not None:
        if end < start:
            raise Refusal("40707", "Start time is greater than end time")
        if end - start > MAX_SPAN_MS:
            raise Refusal("00001", "startTime and endTime interval cannot be greater than 90 days")
    last = min(end if end is not None else now_ms, now_ms)
    longest = granularity.length_ms or 31 * DAY_MS
    first = max(granularity.start(last) - limit * longest, oldest_ms, start or 0)
    rows = granularity.rows(market.source, first, last, now_ms)
    if finished:
        rows = [row for row in rows if granularity.next_start(row.open_time_ms) <= now_ms]
    return [_candle_row(row) for row in rows[-limit:]]


def _candle_row(row: Candle) -> tuple[str, ...]:
    return (
        str(row.open_time_ms),
        float_text(row.open),
        float_text(row.high),
        float_text(row.low),
        float_text(row.close),
        float_text(row.volume),
        float_text(row.quote_volume),
    )

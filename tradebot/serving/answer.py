"""From a request of the engine to its answer."""

from __future__ import annotations

from tradebot.errors import ModelError
from tradebot.events import ForecastFailed, ForecastReady, RequestForecast
from tradebot.serving.live import Serving


def answer(serving: Serving, request: RequestForecast) -> ForecastReady | ForecastFailed:
    """The forecast that was asked for, or that there is none, and why."""
    try:
        ref, forecast = serving.forecast(request.symbol, request.model, request.row)
    except ModelError as error:
        return ForecastFailed(request_id=request.request_id, symbol=request.symbol, reason=str(error))
    return ForecastReady(
        request_id=request.request_id,
        symbol=request.symbol,
        model=ref.name,
        version=ref.version,
        model_sha256=ref.sha256,
        as_of_ms=request.as_of_ms,
        horizon_ms=ref.horizon_ms,
        row_hash=request.row_hash,
        expected_bp=forecast.expected_bp,
        p_up=forecast.p_up,
        p_down=forecast.p_down,
        provisional=ref.provisional,
        quantiles_bp=forecast.quantiles_bp,
    )

"""Lorentzian classification: the model's class, passed through filters of range, regime and trend, confirmed by a
kernel regression (models.md section 5.1)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.exits import Exit, Reversal, TimeExit, Wanted, first, protected
from tradebot.trading.indicators import AverageRange, KernelRegression, Regime, candles_after
from tradebot.trading.sizing import Fixed, Sizing, prospect, sized
from tradebot.trading.strategy import Intent, Strategy, View

WARMED_BY = 1_000
"""Closed candles after which the start of the longest average (200) weighs nothing."""


class LorentzianParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which classes count, which filters apply, how the kernel looks back.

    ``min_p``: least probability of the class. ``volatility``: the candle's true range must exceed the average of 10.
    ``regime``: least strength of the regime; null: any. ``adx``: least ADX(14), 0 to 100; null: any.
    ``sma_200``: only on the side of the average of 200 closes. ``kernel``: enter only while the kernel estimate moves
    the same way. ``h``: its window, candles. ``r``: its relative weighting; large: near a Gaussian.
    ``lag``: above 0 the estimate need not move; a quicker one, of window h - lag, must have crossed it.
    ``exits``: ways out. ``size``: how much of the configured order.
    """

    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    volatility: bool = True
    regime: float | None = -0.1
    adx: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    sma_200: bool = False
    kernel: bool = True
    h: float = 8.0
    r: float = 8.0
    lag: float = 0.0
    exits: tuple[Exit, ...] = (Reversal(), TimeExit(candles=4))
    size: Sizing = Fixed()

    def __post_init__(self) -> None:
        KernelRegression(self.h, self.r, self.lag)  # refuses what it cannot be made of


class Watch:
    """What the strategy follows of one symbol: the filters, and the signal that stands until it is reversed."""

    def __init__(self, params: LorentzianParams) -> None:
        self.kernel = KernelRegression(params.h, params.r, params.lag)
        self.regime = Regime()
        self.range_1, self.range_10 = AverageRange(1), AverageRange(10)
        self.last_open_ms = -1
        self.signal: Wanted = "flat"

    def advance(self, view: View) -> None:
        """Take the candles that were not taken yet."""
        if view.market.candles is None:
            return
        for candle in candles_after(view.market.candles, self.last_open_ms):
            self.kernel.update(candle.close)
            self.regime.update(candle)
            self.range_1.update(candle)
            self.range_10.update(candle)
            self.last_open_ms = candle.open_time_ms


class Lorentzian(Strategy):
    """One position per symbol, entered when the signal changes and the kernel agrees, left after four candles.

    A signal is the model's class while all filters pass; otherwise the last one stands. The first signal after a start
    is no change, because nobody knows what stood before it.
    """

    Params = LorentzianParams
    params: LorentzianParams
    lookback = WARMED_BY

    def __init__(self, params: LorentzianParams) -> None:
        super().__init__(params)
        self._watched: dict[str, Watch] = {}

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        watch = self._watched.setdefault(view.market.symbol, Watch(self.params))
        watch.advance(view)
        predicted = self._class(forecast)
        stopped = self._filtered(view, watch, predicted)
        before = watch.signal
        if stopped is None:
            watch.signal = predicted
        changed = before not in ("flat", watch.signal)
        reason = f"signal {watch.signal}, class {predicted} (up {forecast.p_up:.3f}, down {forecast.p_down:.3f})"
        reason += "" if stopped is None else f", {stopped}"
        agrees = not self.params.kernel or watch.kernel.direction == (1 if watch.signal == "long" else -1)
        wanted: Wanted = watch.signal if changed and agrees else "flat"
        if view.holding.side != "flat":
            due = first(self.params.exits, view, wanted)
            return Intent("hold", reason) if due is None else Intent("exit", f"{due}: {reason}")
        if wanted == "flat":
            return Intent("hold", f"{reason}, kernel against it" if changed else reason)
        entry = Intent("enter_long" if wanted == "long" else "enter_short", reason)
        share = self.params.size.share(prospect(view, forecast, wanted, view.taker_cost_bp))
        return protected(sized(entry, share), self.params.exits, view)

    def on_candle(self, view: View) -> Intent:
        due = first(self.params.exits, view)
        return Intent("hold", "no forecast") if due is None else Intent("exit", due)

    def _class(self, forecast: ForecastReady) -> Wanted:
        if max(forecast.p_up, forecast.p_down) < self.params.min_p or forecast.p_up == forecast.p_down:
            return "flat"
        return "long" if forecast.p_up > forecast.p_down else "short"

    def _filtered(self, view: View, watch: Watch, predicted: Wanted) -> str | None:
        """The filter that keeps ``predicted`` from becoming the signal, or None."""
        if predicted == "flat":
            return "no class stands out"
        now, usual = watch.range_1.value, watch.range_10.value
        if self.params.volatility and not (now is not None and usual is not None and now > usual):
            return "range below its average"
        strength = watch.regime.strength
        if self.params.regime is not None and not (strength is not None and strength >= self.params.regime):
            return "regime unknown" if strength is None else f"regime {strength:+.2f}"
        trend = view.row("adx_14")
        if self.params.adx is not None and not (trend is not None and 100 * trend >= self.params.adx):
            return "ADX unknown" if trend is None else f"ADX {100 * trend:.1f}"
        above = view.row("sma_dist_200")
        if self.params.sma_200 and not (above is not None and (above > 0) == (predicted == "long")):
            return "wrong side of the average of 200"
        return None

"""The strategy that ``tradebot strategy new`` writes, and its test."""

from __future__ import annotations

STRATEGY = '''\
"""{title}: say here in one line what it trades on."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.strategy import Intent, Strategy, View


class {cls}Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `strategy.params` in config.yaml may hold. `tradebot strategy list` shows these lines.

    ``margin_bp``: how far the expected return must exceed the cost of a trade, bp.
    ``stop_bp``: distance of the protective stop, bp; risk.stop_distance where that is closer.
    """

    margin_bp: Annotated[float, msgspec.Meta(ge=0)] = 2.0
    stop_bp: Annotated[float, msgspec.Meta(gt=0)] = 100.0


class {cls}(Strategy):
    """Enters when the forecast is worth more than it costs, leaves when the forecast's horizon is over."""

    Params = {cls}Params
    params: {cls}Params

    # Each hook is asked about one symbol and answers with an Intent. The view shows the market (view.market), the
    # position (view.holding), the account (view.account), the last candle's features (view.row("rsi_14")) and every
    # model's forecast (view.forecasts). Nothing else is there: no clock, no network, no files. What a strategy
    # remembers must follow from what it was shown, because `tradebot signals replay` asks it again and compares.

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        """A candle closed and its forecast is in."""
        if view.holding.side != "flat":
            if view.holding.candles * view.interval_ms >= forecast.horizon_ms:
                return Intent("exit", "horizon over")
            return Intent("hold", f"expected {{forecast.expected_bp:+.2f}} bp")
        worth = abs(forecast.expected_bp) - view.taker_cost_bp
        reason = f"expected {{forecast.expected_bp:+.2f}} bp at a cost of {{view.taker_cost_bp:.2f}}"
        if worth < self.params.margin_bp:
            return Intent("hold", reason)
        return Intent(
            "enter_long" if forecast.expected_bp > 0 else "enter_short",
            reason,
            stop_bp=self.params.stop_bp,  # stands on the exchange; take_profit_bp=… would, too
            # size=0.5               half of trading.order_notional
            # order="maker", wait_ms=5_000, fallback="market"        rest at the touch first
            # timer=("look", 60_000)                                 then on_timer is asked
        )

    def on_candle(self, view: View) -> Intent | None:
        """A candle closed and there is no forecast of it. Without on_forecast: every candle; it may enter then."""
        if view.model is not None and view.holding.candles * view.interval_ms >= view.model.horizon_ms:
            return Intent("exit", "horizon over, and no forecast")
        return None

    # Define these where they are needed; None means that nothing is wanted, and what is not defined costs nothing.
    #
    # def on_book(self, view: View) -> Intent | None:                    a row of the 1 s book: view.market.book
    # def on_fill(self, view: View, fill: Filled) -> Intent | None:      an execution (from tradebot.events)
    # def on_timer(self, view: View, name: str) -> Intent | None:        an Intent's timer ran out
    # def on_disconnect(self, view: View, reason: str) -> Intent | None: market data or the private stream was lost
'''

TEST = '''\
"""What {name} wants, shown views made by hand. Run: python -m pytest {test}"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tradebot.errors import ConfigError
from tradebot.events import EngineConfig, ForecastReady, ModelRef
from tradebot.trading.loading import load_strategy
from tradebot.trading.strategy import Holding, Market, Strategy, View, configure

FOLDER = Path(__file__).resolve().parents[1]
BAR = 300_000


def strategy(**params: float) -> Strategy:
    cls, _ = load_strategy(FOLDER, "{name}")
    config = EngineConfig(mode="paper", symbols=("SOLUSDT",), strategy="{name}", strategy_params=params)
    return configure(cls, config)


def forecast(expected_bp: float) -> ForecastReady:
    return ForecastReady(
        request_id="1", symbol="SOLUSDT", model="lightgbm", version="v0001", model_sha256="", as_of_ms=0,
        horizon_ms=2 * BAR, row_hash="", expected_bp=expected_bp, p_up=0.4, p_down=0.3,
    )  # fmt: skip


def view(qty: str = "0", candles: int = 0) -> View:
    model = ModelRef(symbol="SOLUSDT", name="lightgbm", version="v0001", sha256="", schema_hash="", horizon_ms=2 * BAR)
    return View(
        now_ms=10 * BAR,
        interval_ms=BAR,
        market=Market(symbol="SOLUSDT", bid=99.99, ask=100.01, mark=100.0, book_age_ms=50),
        holding=Holding(qty=Decimal(qty), entry_price=Decimal(100), candles=candles),
        taker_cost_bp=14.0,
        models={{"lightgbm": model}},
    )


@pytest.mark.parametrize(
    ("expected_bp", "action"), [(16.1, "enter_long"), (-16.1, "enter_short"), (15.9, "hold"), (0.0, "hold")]
)
def test_it_enters_when_the_forecast_is_worth_more_than_it_costs(expected_bp: float, action: str) -> None:
    assert strategy(margin_bp=2.0).on_forecast(view(), forecast(expected_bp)).action == action


def test_an_entry_carries_its_stop() -> None:
    assert strategy(stop_bp=40.0).on_forecast(view(), forecast(50.0)).stop_bp == 40.0


@pytest.mark.parametrize(("candles", "action"), [(1, "hold"), (2, "exit")])
def test_it_leaves_when_the_horizon_is_over(candles: int, action: str) -> None:
    assert strategy().on_forecast(view("-1.5", candles), forecast(-50.0)).action == action


def test_it_leaves_without_a_forecast_too() -> None:
    intent = strategy().on_candle(view("1.5", candles=2))
    assert intent is not None
    assert intent.action == "exit"
    assert strategy().on_candle(view("1.5", candles=1)) is None


def test_a_parameter_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="margin_bp"):
        strategy(margin_bp=-1.0)
'''


def written(name: str, test: str) -> tuple[str, str]:
    """The strategy ``name`` and its test, which is to lie at ``test``."""
    words = [word for word in name.split("_") if word]
    cls = "".join(word.capitalize() for word in words)
    title = " ".join(words).capitalize()
    return STRATEGY.format(title=title, cls=cls), TEST.format(name=name, test=test)

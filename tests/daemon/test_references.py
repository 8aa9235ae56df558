"""A symbol that is not traded and whose candles are features of others: heard over real sockets, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.e2e.conftest import STRATEGIES
from tests.eventually import ended
from tests.faults.world import CREDENTIALS, LIMITS, markets, model_store, settings, timeouts
from tests.serving.views_model import plant
from tests.sim.faulty import faults
from tradebot.daemon.app import Daemon
from tradebot.daemon.replay import verify
from tradebot.events import (
    Alert,
    CandleClosed,
    CandleHistory,
    Decision,
    ForecastReady,
    FundingHistory,
    InstrumentUpdated,
    Record,
    TickerUpdated,
)
from tradebot.features.views import view
from tradebot.journal import open_state
from tradebot.market.candle import MINUTE_MS
from tradebot.registry import ModelStore
from tradebot.settings import Settings
from tradebot.sim.faults import Schedule
from tradebot.sim.server import EmbeddedExchange
from tradebot.trading.decisions import REFERENCE_WAIT_MS

FOR_MS = 60 * MINUTE_MS


async def traded(
    folder: Path, references: list[str], models: tuple[str, ...] = ("lightgbm",), schedule: Schedule | None = None
) -> tuple[Daemon, list[Record]]:
    """A daemon that trades SOLUSDT for an hour where ETHUSDT is offered, too, and everything it was told."""
    told: list[Record] = []
    market = markets(3, FOR_MS + 10 * MINUTE_MS)
    async with EmbeddedExchange(market, hold=True, limits=LIMITS, faults=schedule) as exchange:
        tree = settings(exchange, folder / "state", model_store(folder.parent)).model_dump()
        tree |= {"symbols": ["SOLUSDT"], "trading": {**tree["trading"], "references": references}}
        tree["strategy"]["models"] = models
        with open_state(folder / "state") as opened:
            daemon = Daemon(
                Settings.model_validate(tree),
                CREDENTIALS,
                opened,
                stop_at_ms=exchange.exchange.clock.now_ms + FOR_MS,
                timeouts=timeouts(brisk=False),
            )
            daemon.sequencer.observe(lambda seq, ts_ms, record: told.append(record))
            await ended(daemon.run(), 60)
    return daemon, told


async def test_the_closes_of_a_reference_are_features_and_nothing_else_of_it_is_heard(tmp_path: Path) -> None:
    daemon, told = await traded(tmp_path / "a", ["ETHUSDT"])
    about = {type(r) for r in told if getattr(r, "symbol", "") == "ETHUSDT"}
    assert about == {CandleHistory, CandleClosed}
    assert not any(isinstance(r, InstrumentUpdated) and r.instrument.symbol == "ETHUSDT" for r in told)
    closes = [r.candle.open_time_ms for r in told if isinstance(r, CandleClosed) and r.symbol == "SOLUSDT"]
    led = [r.candle.open_time_ms for r in told if isinstance(r, CandleClosed) and r.symbol == "ETHUSDT"]
    assert closes == led
    assert len(closes) == daemon.tally.candles == 12
    assert daemon.engine.leaders.missed == {"ETHUSDT": 0}
    assert daemon.stream.feed.strays == {}
    values = daemon.engine.symbols["SOLUSDT"].values(daemon.engine.leaders)
    assert values is not None
    seen = view("candles-5m")
    assert values[seen.column("funding")] != 0
    [funding] = [r for r in told if isinstance(r, FundingHistory)]
    assert funding.symbol == "SOLUSDT"
    assert len(funding.settlements) > 20
    tickers = [r for r in told if isinstance(r, TickerUpdated)]
    assert all(r.index > 0 and r.open_interest > 0 for r in tickers)
    assert np.isnan(values[seen.column("btc_ret_1")]), "nobody leads with bitcoin here"


async def test_a_reference_whose_stream_is_silent_costs_one_wait_and_one_alert(tmp_path: Path) -> None:
    rule = {"kind": "drop", "scope": "public", "channel": "candle", "symbol": "ETHUSDT"}
    daemon, told = await traded(tmp_path / "a", ["ETHUSDT"], schedule=faults(rule))
    assert daemon.feed.sealer.read_back >= 11, "REST tells every candle, but too late"
    assert daemon.engine.leaders.missed == {"ETHUSDT": 12}
    assert [r.symbol for r in told if isinstance(r, Alert) and r.code == "reference_late"] == ["SOLUSDT"]
    waits = [r.ts_ms % (5 * MINUTE_MS) for r in told if isinstance(r, Decision) and r.hook == "on_forecast"]
    assert len(waits) == 12
    assert [wait >= REFERENCE_WAIT_MS for wait in waits] == [True] + 11 * [False], waits


async def test_a_reference_that_the_exchange_does_not_have_is_done_without(tmp_path: Path) -> None:
    daemon, told = await traded(tmp_path / "b", ["BTCUSDT"])
    assert not any(getattr(r, "symbol", "") == "BTCUSDT" for r in told)
    assert daemon.tally.candles == 12
    assert len(daemon.stream.connections) == 2


async def test_models_of_longer_candles_and_windows_are_asked_and_replayed_to_the_bit(tmp_path: Path) -> None:
    store = model_store(tmp_path)
    plant(ModelStore(store), "bilstm", "bars-15m", steps=2)
    _, told = await traded(tmp_path / "c", ["ETHUSDT"], ("bilstm-15m", "lightgbm"))
    slow = [r.as_of_ms for r in told if isinstance(r, ForecastReady) and r.model == "bilstm-15m"]
    assert len(slow) >= 2
    assert all(close % (15 * MINUTE_MS) == 0 for close in slow)
    decisions = [r for r in told if isinstance(r, Decision) and r.hook == "on_forecast"]
    assert {tuple(a.model for a in decision.models) for decision in decisions} == {("bilstm-15m", "lightgbm")}
    assert {decision.model for decision in decisions} == {"bilstm-15m", "lightgbm"}
    [replayed] = verify(tmp_path / "c" / "state", STRATEGIES, store)
    assert (replayed.mismatches, replayed.forecasts.differing, replayed.forecasts.unasked) == (0, 0, {})
    assert replayed.forecasts.asked == len(slow) + 12
    assert replayed.forecasts.bitwise

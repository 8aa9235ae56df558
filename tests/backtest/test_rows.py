"""Every row and window that a model saw in a run is that of ``View.batch`` on the file's candles, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tests.backtest.market import asked, random_walk
from tests.backtest.runs import Records
from tests.serving.views_model import plant
from tests.shared import shared_path
from tradebot.backtest.single import Spec, run_backtest
from tradebot.events import Decision, FundingHistory, RequestForecast, TickerUpdated
from tradebot.features.side import SIDE
from tradebot.features.views import view
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.market.resample import resampled
from tradebot.registry import ModelStore
from tradebot.shell import sequencer

BAR = INTERVAL_MS["5m"]
MODELS = {"lightgbm": ("candles-5m", 1), "lorentzian-15m": ("bars-15m", 1), "bilstm-1h": ("bars-1h", 60)}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[RequestForecast]:
    """What serving is asked, as it is asked."""
    seen: list[RequestForecast] = []
    answered: Callable[[Any, RequestForecast], Any] = sequencer.answer

    def answer(serving: Any, request: RequestForecast) -> Any:
        seen.append(request)
        return answered(serving, request)

    monkeypatch.setattr(sequencer, "answer", answer)
    return seen


def columns(path: Path) -> dict[str, NDArray[Any]]:
    return {name: column.to_numpy() for name, column in zip(*_named(path), strict=True)}


def _named(path: Path) -> tuple[list[str], list[Any]]:
    table = pq.read_table(path)
    return table.column_names, [table[name] for name in table.column_names]


def beside(own: dict[str, NDArray[Any]], btc: dict[str, NDArray[Any]], log: Records) -> NDArray[np.float64]:
    """Sides of the file's candles, put together from the files and from what the run was told, not by the engine."""
    closes = own["open_time"] + BAR
    side = np.full((len(closes), len(SIDE)), np.nan)
    known = dict(zip(btc["open_time"].tolist(), btc["close"].tolist(), strict=True))
    side[:, SIDE.index("btc_close")] = [known.get(at, np.nan) for at in own["open_time"].tolist()]
    tickers = [(ts_ms, r) for kind, ts_ms, r in log.lines if isinstance(r, TickerUpdated)]
    times = np.array([ts_ms for ts_ms, _ in tickers])
    last = np.searchsorted(times, closes, side="right") - 1
    heard = closes > times[0] - times[0] % BAR  # of before the run nothing was heard
    for row in np.flatnonzero(heard & (last >= 0)):
        told = tickers[last[row]][1]
        side[row, 3:] = told.mark, told.index, told.open_interest
    [history] = [r for _, _, r in log.lines if isinstance(r, FundingHistory)]
    settled = dict(history.settlements)
    settled |= {told.next_funding_ms: told.funding_rate for _, told in tickers if told.next_funding_ms <= closes[-1]}
    moments = np.array(sorted(settled))
    place = np.searchsorted(moments, closes, side="right") - 1
    for row in np.flatnonzero(place >= 0):
        side[row, SIDE.index("funding")] = settled[int(moments[place[row]])]
    return side


def expected(view_name: str, steps: int, own: dict[str, NDArray[Any]], side: NDArray[np.float64]) -> dict[int, bytes]:
    """By close: what the model is to see."""
    seen = view(view_name)
    ohlcv = [own[name].astype(np.float64) for name in ("open", "high", "low", "close", "volume")]
    whole = INTERVAL_MS[seen.interval]
    bars = resampled(own["open_time"], *ohlcv, part_ms=BAR, whole_ms=whole)
    rows, usable = seen.batch(*bars[:6], side[bars.last])
    return {
        int(open_ms) + whole: rows[at + 1 - steps : at + 1].tobytes()
        for at, open_ms in enumerate(bars.open_ms.tolist())
        if at >= steps - 1 and usable[at + 1 - steps : at + 1].all()
    }


def check(spec: Spec, own: Path, btc: Path, asked: list[RequestForecast]) -> dict[str, int]:
    """Run it; how many rows of each model were compared."""
    log = Records()
    outcome = run_backtest(spec, log=log)
    assert outcome is not None
    candles = columns(own)
    side = beside(candles, columns(btc), log)
    compared = {}
    for name, (view_name, steps) in MODELS.items():
        wanted = expected(view_name, steps, candles, side)
        got = {request.as_of_ms: request.row for request in asked if request.model == name}
        whole = INTERVAL_MS[view(view_name).interval]
        first, last = outcome.run.from_ms, outcome.run.to_ms
        assert set(got) == {close for close in wanted if first < close < last}  # the last one never ends
        assert all(close % whole == 0 for close in got)
        different = [close for close, row in got.items() if row != wanted[close]]
        assert not different, f"{name}: {len(different)} of {len(got)} differ, first at {different[0]}"
        compared[name] = len(got)
    for decision in log.of(Decision):
        answers = {answer.model: answer for answer in decision.models}
        assert list(answers) == list(MODELS)
    return compared


def spec_of(own: Path, btc: Path, store: Path, for_ms: int) -> Spec:
    for name, (view_name, steps) in MODELS.items():
        plant(ModelStore(store), name.removesuffix("-15m").removesuffix("-1h"), view_name, steps)
    made = asked(own, strategy="threshold", for_ms=for_ms, entry_long_bp=1e9, entry_short_bp=1e9)
    config = msgspec.structs.replace(made.config, models=tuple(MODELS))
    return replace(
        made,
        config=config,
        strategies_dir=Path(__file__).parents[2] / "strategies",
        model_store=store,
        references=(f"BTCUSDT={btc}",),
        history_days=30,
    )


def test_models_of_several_views_see_what_training_sees(tmp_path: Path, requests: list[RequestForecast]) -> None:
    own = random_walk(tmp_path / "own", days=24)
    btc = random_walk(tmp_path / "btc", days=24, symbol="BTCUSDT", seed=2)
    compared = check(spec_of(own, btc, tmp_path / "models", DAY_MS), own, btc, requests)
    assert compared == {"lightgbm": 287, "lorentzian-15m": 95, "bilstm-1h": 23}


def test_on_a_whole_recorded_tape_too(tmp_path: Path, requests: list[RequestForecast]) -> None:
    """From the first candle of which a row can be made to the last of the file."""
    own = shared_path("data/market/candles/bybit_SOLUSDT_perp_5m.parquet")
    btc = shared_path("data/market/candles/bybit_BTCUSDT_perp_5m.parquet")
    funding = shared_path("data/market/candles/bybit_perp_funding.parquet")
    opens = columns(own)["open_time"]
    spec = spec_of(own, btc, tmp_path / "models", int(opens[-1] + BAR - opens[0]))
    compared = check(replace(spec, data=(str(own), str(funding)), history_days=1), own, btc, requests)
    assert compared["lightgbm"] > 176 * DAY_MS / BAR
    assert compared["lorentzian-15m"] > 176 * DAY_MS / INTERVAL_MS["15m"]
    assert compared["bilstm-1h"] > 174 * DAY_MS / INTERVAL_MS["1h"], "windows of 60 hours"

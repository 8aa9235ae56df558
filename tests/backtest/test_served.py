"""Models of one run serving another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from tests.backtest.market import asked, random_walk
from tests.faults import model as planted
from tests.serving.views_model import graph, manifest, plant
from tradebot.backtest.run import ModelUsed
from tradebot.backtest.served import ServedBefore, foresight
from tradebot.backtest.single import run_backtest
from tradebot.features.views import view
from tradebot.market.candle import HOUR_MS
from tradebot.registry import ModelStore


def test_the_same_models_from_the_same_moments_give_the_same_run(tmp_path: Path) -> None:
    store = tmp_path / "models"
    planted.plant(store, ("SOLUSDT",))
    spec = asked(random_walk(tmp_path / "market", days=11), strategy="threshold", for_ms=3 * HOUR_MS, entry_long_bp=1.0)
    spec = replace(spec, strategies_dir=Path(__file__).parents[2] / "strategies", model_store=store)
    first = run_backtest(spec)
    assert first is not None
    assert first.result["forecasts"] > 30
    served = ServedBefore(store, first.run.models, first.run.settings_hash)
    for training in (served, served.again()):
        again = run_backtest(replace(spec, model_store=None), training=training)
        assert again is not None
        assert again.result["decisions_sha256"] == first.result["decisions_sha256"]
    late = [msgspec.structs.replace(m, since_ms=first.run.from_ms + HOUR_MS) for m in first.run.models]
    later = run_backtest(replace(spec, model_store=None), training=ServedBefore(store, late, ""))
    assert later is not None
    assert 0 < later.result["forecasts"] < first.result["forecasts"]
    assert later.run.models[0].since_ms >= first.run.from_ms + HOUR_MS


def test_a_record_that_means_other_candles_by_its_familys_name_is_found_by_its_sha256(tmp_path: Path) -> None:
    """A family named alone once read the candles of the decisions: here their model knew later prices."""
    store = ModelStore(tmp_path)
    hourly = plant(store, "bilstm", "bars-1h", steps=2)
    model = graph((len(view("bars-5m").names),))
    made = manifest(model, "bilstm", "bars-5m")
    quick = msgspec.structs.replace(made, lineage=msgspec.structs.replace(made.lineage, fit_end_ms=10**14))
    store.add(quick, {"model.onnx": model})
    used = ModelUsed(symbol="SOLUSDT", name="bilstm", version="v0001", sha256=hourly.sha256, since_ms=10**13)
    assert foresight(tmp_path, [used], "5m") == ()
    former = msgspec.structs.replace(used, sha256=quick.sha256)
    assert len(foresight(tmp_path, [former], "5m")) == 1
    assert foresight(tmp_path, [msgspec.structs.replace(used, sha256="")], "5m") == (), "by its name"


def test_a_model_that_was_chosen_on_later_prices_is_named(tmp_path: Path) -> None:
    planted.plant(tmp_path, ("SOLUSDT",))
    used = ModelUsed(symbol="SOLUSDT", name="lightgbm", version="v0001", sha256="", since_ms=10**15)
    assert foresight(tmp_path, [used], "5m") == ()
    early = msgspec.structs.replace(used, since_ms=1)
    [said] = foresight(tmp_path, [used, early], "5m")
    assert "SOLUSDT" in said
    assert "foretell" in said

"""Transfer: what symbols share is learnt from all of them, and never from a symbol's tomorrow."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training.advanced.made_up import BAR_MS, sample, scores, softmax
from tradebot.errors import DataError
from tradebot.forecasters.base import Floats, Inputs, Sample, Windows, family
from tradebot.training.advanced.transfer import common_splits, pooled, transfer
from tradebot.training.splits import Splits, split_by_time

KIND = family("lorentzian", {"memory": 2_000, "k": 40, "spacing": 1}, "5m")
INPUTS = [KIND.features.index(name) for name in ("rsi_14", "wt_diff", "cci_close_20", "adx_20", "rsi_9")]


def market(seed: int, count: int = 2_400, sharp: float = 1.5, start: int = 0) -> Sample:
    """All symbols follow their two first inputs the same way."""
    rows = np.random.default_rng(seed).normal(size=(count, len(KIND.features)))
    lean = sharp * (rows[:, INPUTS[0]] * np.sign(rows[:, INPUTS[1]]))
    return sample(rows, softmax(scores(-lean, lean)), seed=seed + 50, start=start)


def split(found: Sample) -> Splits:
    return split_by_time(found, validation_share=0.2, test_share=0.4, bar_ms=BAR_MS, embargo_bars=2)


def test_a_symbol_with_few_rows_learns_from_the_others() -> None:
    small = split(market(9))
    few = np.arange(len(small.train)) >= len(small.train) - 220
    small = Splits(small.train.where(few), small.validation, small.test, small.fit_end_ms, small.test_from_ms)
    markets = {"A": split(market(1)), "B": split(market(2)), "C": split(market(3)), "NEW": small}
    found = {one.symbol: one for one in transfer(KIND, markets, {"k": 40}, rounds=1).symbols}
    new = found["NEW"]
    assert new.pooled_head_loss < new.own_head_loss
    assert new.gain.mean == pytest.approx(new.own_loss - new.pooled_loss)
    assert new.head_gain.mean == pytest.approx(new.own_head_loss - new.pooled_head_loss)
    assert new.head_gain.p_positive > 0.95
    said = np.bincount(small.train.classes, minlength=3) / len(small.train)
    assert new.rates_loss == pytest.approx(-np.log(said[small.test.classes]).mean())


def test_the_head_is_a_symbols_own() -> None:
    """One symbol answers to the same inputs the other way round: the pooled head is wrong for it, its own is not."""
    contrary = split(market(4, sharp=-1.5))
    markets = {"A": split(market(1)), "B": split(market(2)), "C": split(market(3)), "CONTRARY": contrary}
    found = {one.symbol: one for one in transfer(KIND, markets, {"k": 40}, rounds=1).symbols}
    assert found["CONTRARY"].pooled_head_loss < found["CONTRARY"].pooled_loss - 0.05


class Told:
    """A model that says the same of every row; all fits of it are one."""

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        lean = np.asarray(rows, dtype=np.float64)[:, INPUTS[0]]
        return softmax(scores(-3 * lean, 3 * lean)), lean


def told(horizon_bars: int) -> Any:
    """A family that fits nothing: what differs between own and pooled then differs by the head alone."""
    fitted = Told()
    return SimpleNamespace(
        interval="5m", horizon_bars=horizon_bars, prepare=lambda *_, **__: None, fit=lambda *_, **__: fitted
    )


def test_a_head_is_no_transfer() -> None:
    """Where own and pooled say the same there is nothing to gain, although the head changes both."""
    found = transfer(told(2), {"A": split(market(1)), "B": split(market(2))}, {}, rounds=1)
    for one in found.symbols:
        assert abs(one.own_head_loss - one.own_loss) > 0.05
        assert (one.gain.mean, one.head_gain.mean) == (0.0, 0.0)
        assert (one.pooled_loss, one.pooled_head_loss) == (one.own_loss, one.own_head_loss)


@pytest.mark.parametrize(("horizon_bars", "block"), [(2, 288), (200, 400)])
def test_intervals_know_how_long_a_label_lasts(horizon_bars: int, block: int) -> None:
    markets = {"A": split(market(1, count=6_000)), "B": split(market(2, count=6_000))}
    found = transfer(told(horizon_bars), markets, {}, rounds=1)
    for gain in (found.gain, found.head_gain, *(one.gain for one in found.symbols)):
        assert gain.block == block


def test_symbols_that_move_as_one_make_no_mean_surer() -> None:
    """Five symbols of the same test rows: the mean of their gains is as sure as the gain of one of them."""
    markets = {"A": split(market(1)), "B": split(market(2))}
    same = {f"C{n}": markets["A"] for n in range(5)}
    found = transfer(KIND, same | {"B": markets["B"]}, {"k": 40}, rounds=1)
    one, mean = found.symbols[0], found.head_gain
    assert mean.rows == one.rows == found.symbols[-1].rows
    assert mean.mean == pytest.approx(np.mean([each.head_gain.mean for each in found.symbols]))
    alone = transfer(KIND, same, {"k": 40}, rounds=1)
    assert (alone.head_gain.low, alone.head_gain.high) == pytest.approx(
        (alone.symbols[0].head_gain.low, alone.symbols[0].head_gain.high)
    )
    assert (found.from_ms, found.to_ms) == (markets["A"].test.at_ms[0], markets["A"].test.label_end_ms[-1])


def test_a_symbol_that_cannot_be_fitted_is_named() -> None:
    few = split(market(2))
    few = Splits(few.train.where(np.arange(len(few.train)) < 50), few.validation, few.test, few.fit_end_ms,
                 few.test_from_ms)  # fmt: skip
    with pytest.raises(DataError, match=r"FEW: 50 bars to remember.*or leave the symbol out"):
        transfer(KIND, {"A": split(market(1)), "FEW": few}, {"k": 8}, rounds=1)


def test_a_pool_that_would_know_tomorrow_is_refused() -> None:
    with pytest.raises(DataError, match="begin after every fit has ended"):
        transfer(KIND, {"A": split(market(1)), "B": split(market(2, start=1_500))}, {"k": 8}, rounds=1)


def test_symbols_of_different_age_are_cut_at_the_same_moments() -> None:
    markets = {"OLD": market(1, count=4_000), "NEW": market(2, count=1_000, start=3_010)}
    found = common_splits(markets, validation_share=0.2, test_share=0.3, bar_ms=BAR_MS, embargo_bars=30)
    old, new = found["OLD"], found["NEW"]
    end = int(markets["OLD"].label_end_ms[-1])  # the older one ends first
    begin = int(markets["NEW"].at_ms[0])
    assert old.test_from_ms == new.test_from_ms == pytest.approx(end - 0.3 * (end - begin), abs=BAR_MS)
    assert old.validation.at_ms[0] == new.validation.at_ms[0]
    for cut in (old, new):
        assert cut.train.label_end_ms[-1] + 30 * BAR_MS == cut.validation.at_ms[0]
        assert cut.validation.label_end_ms[-1] + 30 * BAR_MS == cut.test_from_ms == cut.test.at_ms[0]
        assert cut.test.at_ms[-1] < end
        assert len(cut.validation) == pytest.approx(0.2 * 991, abs=3)
    assert (old.train.at_ms[0], new.train.at_ms[0]) == (0, begin)
    assert {one.symbol for one in transfer(KIND, found, {"k": 8}, rounds=1).symbols} == {"OLD", "NEW"}
    gone = {"OLD": market(1, count=1_000), "LATER": market(2, count=1_000, start=990)}
    with pytest.raises(DataError, match=r"LATER: no usable row in its training part.*leave the symbol out"):
        common_splits(gone, validation_share=0.2, test_share=0.3, bar_ms=BAR_MS, embargo_bars=2)


def test_a_pool_knows_the_ranges_if_all_do() -> None:
    known = [replace(market(seed, count=50), range_bp=np.arange(50.0) + 100 * seed) for seed in (1, 2)]
    ranges = pooled(known).range_bp
    assert ranges is not None
    assert ranges[:4].tolist() == [100.0, 200.0, 101.0, 201.0]
    assert pooled([known[0], market(2, count=50)]).range_bp is None


def test_every_symbol_counts_as_much_and_rows_are_in_order_of_time() -> None:
    first, second = market(1, count=900), market(2, count=300, start=450)
    both = pooled([first, second])
    assert (np.diff(both.at_ms) >= 0).all()
    assert len(both) == 1_200
    own = np.isin(both.rows[:, 0], first.rows[:, 0])  # type: ignore[index]
    assert both.weight[own].sum() == pytest.approx(both.weight[~own].sum())
    windows = [
        Sample(
            Windows(s.rows, np.arange(9, len(s)), 10),  # type: ignore[arg-type]
            *(getattr(s, name)[9:] for name in ("classes", "weight", "at_ms", "label_end_ms")),
            *(getattr(s, name)[9:] for name in ("realised_bp", "traded_bp", "past_bp")),
        )
        for s in (first, second)
    ]
    joined = pooled(windows).rows
    assert isinstance(joined, Windows)
    at = int(np.flatnonzero(pooled(windows).at_ms == first.at_ms[500])[0])
    np.testing.assert_array_equal(joined[at : at + 1].array()[0], first.rows[491:501])

"""``tradebot train --transfer``: one model of all symbols beside one of each; nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradebot.cli.output import json_line, progress, table
from tradebot.cli.times import iso
from tradebot.errors import DataError, TradebotError

if TYPE_CHECKING:
    from tradebot.evaluation.bootstrap import Interval
    from tradebot.forecasters.base import Sample
    from tradebot.training.asked import Asked
    from tradebot.training.many import TrainPlan


def compare_transfer(plan: TrainPlan, as_json: bool) -> None:
    """Fit, judge and tell. A symbol whose candles cannot be used is left out and told.

    Raises DataError where fewer than two are left.
    """
    from tradebot.market.candle import INTERVAL_MS
    from tradebot.training.advanced.transfer import common_splits, transfer
    from tradebot.training.asked import asked_for
    from tradebot.training.retrain import VALIDATION_SHARE
    from tradebot.training.splits import embargo_bars

    first = plan.jobs[0]
    asked = asked_for(first)
    kind = asked.kind
    samples = _samples(plan, asked)
    if len(samples) < 2:
        raise DataError(f"--transfer: {len(samples)} symbols with usable candles; two are the least")
    markets = common_splits(
        samples,
        validation_share=VALIDATION_SHARE,
        test_share=first.test_share,
        bar_ms=INTERVAL_MS[kind.interval],
        embargo_bars=embargo_bars(kind),
    )
    progress(f"fitting {len(markets)} models and one of all their rows")
    params = {**kind.defaults(asked.rounds), **asked.fixed}
    found = transfer(kind, markets, params, rounds=asked.rounds, seed=first.seed, threads=first.threads)
    forms = {"pooled": [one.pooled_gain for one in found], "own_head": [one.gain for one in found]}
    verdicts = {
        name: {"better": sum(gain.low > 0 for gain in gains), "worse": sum(gain.high < 0 for gain in gains)}
        for name, gains in forms.items()
    }
    if as_json:
        for number, one in enumerate(found):
            losses = {"own_loss": one.own_loss, "pooled_loss": one.pooled_loss, "own_head_loss": one.tuned_loss}
            told = {
                f"{name}_gain": {"value": gains[number].mean, "low": gains[number].low, "high": gains[number].high}
                for name, gains in forms.items()
            }
            json_line({"symbol": one.symbol, "rows": one.rows, **losses, **told})
        json_line({"model": first.model, "interval": plan.interval, "as_of": iso(first.as_of_ms),
                   "symbols": len(found), **verdicts})  # fmt: skip
        return
    table(
        ["symbol", "rows", "own model", "pooled", "gain", "pooled, own head", "gain"],
        [
            (one.symbol, one.rows, f"{one.own_loss:.4f}", f"{one.pooled_loss:.4f}", _gain(one.pooled_gain),
             f"{one.tuned_loss:.4f}", _gain(one.gain))
            for one in found
        ],
        right=tuple(range(1, 7)),
    )  # fmt: skip
    for name, verdict in verdicts.items():
        progress(
            f"{name.replace('_', ' ')}: less log-loss (nats, untouched rows) than a model of the symbol alone for "
            f"{verdict['better']} of {len(found)} symbols, more for {verdict['worse']}, no telling for the others"
        )


def _gain(gain: Interval) -> str:
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def _samples(plan: TrainPlan, asked: Asked) -> dict[str, Sample]:
    from tradebot.training.candles import load_candles
    from tradebot.training.dataset import build_dataset

    found = {}
    for job in plan.jobs:
        try:
            candles = load_candles(
                job.source, job.symbol, asked.kind.interval, as_of_ms=job.as_of_ms, days=job.days, say=progress
            )
            sample = build_dataset(asked.kind, candles).sample
        except TradebotError as error:
            progress(f"{job.symbol} is left out: {error}")
            continue
        found[job.symbol] = sample
    return found

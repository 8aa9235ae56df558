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

LOSSES = ("rates_loss", "own_loss", "pooled_loss", "own_head_loss", "pooled_head_loss")


def compare_transfer(plan: TrainPlan, as_json: bool) -> None:
    """Fit, judge and tell. A symbol whose candles cannot be used, or end long before the others', is left out and told:
    all are cut at the same moments, so it would move everybody's test rows into the past.

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
    span = {"from": iso(found.from_ms), "to": iso(found.to_ms)}
    if as_json:
        for one in found.symbols:
            json_line({"symbol": one.symbol, "rows": one.rows, **{name: getattr(one, name) for name in LOSSES},
                       "gain": _bounds(one.gain), "head_gain": _bounds(one.head_gain)})  # fmt: skip
        json_line({"model": first.model, "interval": plan.interval, "as_of": iso(first.as_of_ms), **span,
                   "symbols": len(found.symbols), "gain": _bounds(found.gain),
                   "head_gain": _bounds(found.head_gain)})  # fmt: skip
        return
    table(
        ["symbol", "rows", "rates", "own", "pooled", "gain", "own, head", "pooled, head", "head gain"],
        [
            (one.symbol, one.rows, f"{one.rates_loss:.4f}", f"{one.own_loss:.4f}", f"{one.pooled_loss:.4f}",
             _gain(one.gain), f"{one.own_head_loss:.4f}", f"{one.pooled_head_loss:.4f}", _gain(one.head_gain))
            for one in found.symbols
        ],
        right=tuple(range(1, 9)),
    )  # fmt: skip
    progress(f"judged {span['from']} to {span['to']}: log-loss in nats of rows that neither model had seen")
    for name, gain in (("as they are", found.gain), ("each with a head of the symbol's", found.head_gain)):
        progress(f"gain of pooled over own, {name}: {_gain(gain)}, the mean over {len(found.symbols)} symbols")


def _bounds(gain: Interval) -> dict[str, float]:
    return {"value": gain.mean, "low": gain.low, "high": gain.high}


def _gain(gain: Interval) -> str:
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def _samples(plan: TrainPlan, asked: Asked) -> dict[str, Sample]:
    from tradebot.market.candle import INTERVAL_MS
    from tradebot.training.candles import load_candles
    from tradebot.training.dataset import build_dataset
    from tradebot.training.retrain import check_fresh

    found = {}
    for job in plan.jobs:
        try:
            candles = load_candles(
                job.source, job.symbol, asked.kind.interval, as_of_ms=job.as_of_ms, days=job.days, say=progress
            )
            check_fresh(candles, job, INTERVAL_MS[asked.kind.interval])
            sample = build_dataset(asked.kind, candles).sample
        except TradebotError as error:
            progress(f"{job.symbol} is left out: {str(error).removeprefix(f'{job.symbol}: ')}")
            continue
        found[job.symbol] = sample
    return found

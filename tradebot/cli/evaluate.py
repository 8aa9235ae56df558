"""``tradebot evaluate``: a stored version judged on rows of one's choice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli import training_options
from tradebot.cli.found import own_file
from tradebot.cli.log import quiet
from tradebot.cli.options import MAX_SEED, ConfigOption, JsonOption, settings_of
from tradebot.cli.output import json_line, line, progress, table
from tradebot.cli.times import iso, parse_time
from tradebot.errors import UsageError

if TYPE_CHECKING:
    from tradebot.registry import ModelKey, ModelStore
    from tradebot.training.scoring import Scored


def evaluate(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="PATH", help="Candles: a parquet file, a folder of files, or a data store."),
    ],
    symbol: Annotated[str, typer.Option("--symbol", metavar="SYMBOL", help="Whose model.")],
    model: training_options.ModelOption = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="v0003", help="Which version (default: the champion).")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First close that counts; earlier candles warm up.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Last outcome that counts.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Only the newest days of the candles.")] = None,
    test_size: Annotated[
        float | None,
        typer.Option("--test-size", min=0.001, max=1.0, help="Only the newest share of the time of the usable rows."),
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Only rows from after what the version was fitted and chosen on.")
    ] = False,
    fee_bp: Annotated[
        float | None, typer.Option("--fee-bp", min=0.0, help="Fee of one side (default: 6, Bitget's base tier).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Of the intervals' resamples.")] = 7,
    epochs: training_options.EpochsOption = None,
    lr: training_options.RateOption = None,
    batch_size: training_options.BatchOption = None,
    trials: training_options.TrialsOption = None,
    rounds: training_options.RoundsOption = None,
    threads: training_options.ThreadsOption = None,
    device: training_options.DeviceOption = None,
    set_: training_options.SetOption = None,
    as_json: JsonOption = False,
    out: training_options.OutOption = None,
    config: ConfigOption = None,
) -> None:
    """Judge a stored version on any candles: its own graph, options and features, labels from the candles.

    Every figure with a 95 % interval and what a baseline chosen at training time reaches on the same rows.

    Nothing is fitted, and the graph runs as it serves: --epochs --lr --batch-size --trials --rounds --jobs and --device
    change nothing here. --set may only say what the version was made with.
    """
    training_options.say_unused(
        "evaluate fits nothing", epochs=epochs, lr=lr, batch_size=batch_size, trials=trials, rounds=rounds,
        device=None if device in (None, training_options.DeviceName.auto, training_options.DeviceName.cpu) else device,
    )  # fmt: skip
    settings = settings_of(config, {"model_store": None if out is None else str(out)}).settings
    quiet(settings.mode)
    from tradebot.jobs import JobCosts
    from tradebot.registry import ModelStore
    from tradebot.training.scoring import FAR_MS, score

    if not data.exists():
        raise UsageError(f"--data {data}: there is no such file or folder")
    store = ModelStore(settings.model_store)
    key = _key(store, symbol, model or settings.retrain.model)
    if told := own_file(data, symbol, key.interval, FAR_MS):
        progress(told)
    scored = score(
        store,
        key,
        data,
        version=version,
        from_ms=None if from_ is None else parse_time(from_, FAR_MS),
        to_ms=None if to is None else parse_time(to, FAR_MS),
        unseen=unseen,
        days=days,
        share=test_size,
        made_with=training_options.pairs_of(set_),
        costs=None if fee_bp is None else JobCosts(fee_bp=fee_bp),
        seed=seed,
        say=progress,
    )
    if scored.seen:
        progress(
            f"{scored.seen} of {scored.rows} rows are from before {iso(scored.manifest.lineage.fit_end_ms)}, the end "
            "of what this version was fitted and chosen on: figures on them flatter it (--unseen leaves them out)"
        )
    if as_json:
        json_line(as_object(scored))
        return
    line(f"{scored.manifest.key} {scored.version}: {scored.rows} rows, {iso(scored.from_ms)} to {iso(scored.to_ms)}")
    table(
        ["figure", "value", "low", "high", "baseline", "unit", "which baseline"],
        [
            (name, *(_shown(v, m.unit) for v in (m.value, m.low, m.high, m.baseline)), m.unit, m.baseline_name)
            for name, m in scored.metrics.items()
        ],
        right=(1, 2, 3, 4),
    )


def as_object(scored: Scored) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "model": scored.manifest.name,
        "version": scored.version,
        "symbol": scored.manifest.symbol,
        "rows": scored.rows,
        "from": iso(scored.from_ms),
        "to": iso(scored.to_ms),
        "metrics": {
            name: {"value": m.value, "low": m.low, "high": m.high, "baseline": m.baseline}
            for name, m in scored.metrics.items()
        },
    }


def _key(store: ModelStore, symbol: str, model: str) -> ModelKey:
    """The model asked for; without an interval the one there is, the family's own where there are several."""
    from tradebot.forecasters.base import family
    from tradebot.registry import ModelKey

    name, interval = training_options.name_and_interval(model)
    if not interval:
        keys = store.keys()
        there = [key for key in keys if (key.symbol, key.name) == (symbol, name)]
        interval = there[0].interval if len(there) == 1 else family(name).interval
    return ModelKey(symbol, name, interval)


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if unit == "count" else f"{value:.4g}"

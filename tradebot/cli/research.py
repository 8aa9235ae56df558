"""What walk-forward, search and check share: the back-test they repeat, and models trained for a moment of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.configured import configured
from tradebot.cli.output import progress
from tradebot.cli.times import short_span
from tradebot.errors import DataError, UsageError

if TYPE_CHECKING:
    from tradebot.backtest.served import ServedBefore
    from tradebot.backtest.single import Progress, Spec
    from tradebot.jobs import JobProgress
    from tradebot.settings import Settings

DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="PATH…", help="Recorded candles or books (parquet): files, folders."),
]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", metavar="NAME", help="Which strategy decides (default: threshold).")
]
ParamOption = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE…", help="Parameters of the strategy.")
]
NoModelOption = Annotated[bool, typer.Option("--no-model", help="No model: for strategies that need none.")]
StrategiesOption = Annotated[
    Path | None, typer.Option("--strategies", metavar="DIR", help="Folder of strategies (default: ./strategies).")
]
ASKED = "asked.sha256"
TELL_EVERY_S = 5.0


class Research:
    """One market, one strategy, and a directory ``out`` in which models are trained for it.

    Without ``data`` a market of ``symbols`` is generated, as long as
    ``generated_ms``, and its candles are written into ``out``, so that every part of the work reads the same.
    ``training`` (of ``settings_overrides``) and ``options`` (``--set``) shape the models.
    """

    def __init__(
        self,
        out: Path,
        *,
        data: Sequence[str],
        symbols: Sequence[str],
        seed: int,
        strategy: str | None,
        params: dict[str, Any],
        strategies: Path | None,
        config: Path | None,
        generated_ms: int,
        train_days: int,
        trials: int = 4,
        rounds: int = 200,
        training: Mapping[str, Any] | None = None,
        options: Sequence[str] | None = None,
    ) -> None:
        from tradebot.backtest.single import Spec
        from tradebot.cli.training_options import trained_so
        from tradebot.settings import Settings, engine_config, strategies_folder

        bot = configured(config, strategy, params)
        name = bot.name
        folder = strategies.absolute() if strategies else bot.folder
        folder = folder or strategies_folder(Path("strategies").absolute(), name)
        self.out = out.absolute()
        settings = Settings.model_validate(
            {
                "mode": "demo",
                "state_dir": self.out,
                "model_store": self.out / "models",
                "strategies_dir": folder,
                "retrain": {"days": train_days, "trials": trials, "rounds": rounds, "seed": seed},
            }
        )
        self.settings: Settings = trained_so(bot.onto(settings), training or {}, options)
        self._training = sorted((key, value) for key, value in (training or {}).items() if value is not None)
        self._options = list(options or [])
        self.spec: Spec = Spec(
            config=engine_config(self.settings),
            settings_hash=self.settings.settings_hash(),
            strategies_dir=folder,
            name=name,
            data=tuple(data),
            symbols=tuple(symbols),
            seed=seed,
        )
        self.asked = ""
        self._generated_ms = generated_ms

    def claim(self, what: str, plan: tuple[object, ...]) -> None:
        """Take ``out`` for this work: ``asked`` tells it from another. Raises ConfigError when it holds another, or
        something else altogether."""
        from tradebot.errors import ConfigError
        from tradebot.ops.files import make_private, write_atomic

        self.asked = self._fingerprint(what, plan)
        file = self.out / ASKED
        if file.exists():
            if file.read_text().strip() != self.asked:
                raise ConfigError(f"--out {self.out}: holds the work of another command; choose another directory")
            return
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise ConfigError(f"--out {self.out}: exists and is not an empty directory; choose another one")
        make_private(self.out)
        write_atomic(file, f"{self.asked}\n".encode())

    def check_parameters(self) -> None:
        """Raises ConfigError where the strategy refuses its parameters, before anything is written or trained."""
        from tradebot.trading.loading import load_strategy
        from tradebot.trading.strategy import configure

        configure(load_strategy(self.spec.strategies_dir, self.spec.config.strategy)[0], self.spec.config)

    def window(self, from_ms: int, to_ms: int) -> Spec:
        """The back-test of a stretch of the market."""
        return replace(self.spec, start_ms=from_ms, for_ms=to_ms - from_ms)

    def label_ms(self) -> int:
        """How far a label of the models reaches: what is purged before each later part."""
        from tradebot.daemon.retraining import RetrainPlan
        from tradebot.market.candle import INTERVAL_MS
        from tradebot.training.asked import asked_for

        plan = RetrainPlan.of(self.settings)
        kinds = [asked_for(plan.job("ANY", 0, model=model)).kind for model in plan.train]
        return max(kind.horizon_bars * INTERVAL_MS[kind.interval] for kind in kinds)

    def begin(self) -> None:
        """Load the strategy, and write the market's candles where trainings read them. Raises TradebotError."""
        from tradebot.backtest.single import open_sources
        from tradebot.cli.trained import write_candles
        from tradebot.ops.files import make_private
        from tradebot.trading.loading import load_strategy
        from tradebot.trading.strategy import configure

        strategy, _ = load_strategy(self.spec.strategies_dir, self.spec.config.strategy)
        configure(strategy, self.spec.config)
        candles = self.out / "candles"
        generated = not self.spec.data
        if not candles.is_dir() or not any(candles.glob("*.parquet")):
            asked = replace(self.spec, for_ms=self._generated_ms) if generated else self.spec
            make_private(candles)
            write_candles(candles, open_sources(asked), self.spec.config.interval)
        if generated:
            files = sorted(str(path) for path in candles.glob("*.parquet"))
            self.spec = replace(self.spec, data=tuple(files), source=f"generated market, seed {self.spec.seed}")

    def asks_models(self) -> bool:
        """Whether the strategy acts on forecasts."""
        from tradebot.trading.loading import load_strategy
        from tradebot.trading.strategy import hooks_of

        found, _ = load_strategy(self.spec.strategies_dir, self.spec.config.strategy)
        return "on_forecast" in hooks_of(found)

    def _fingerprint(self, *parts: object) -> str:
        """What was asked for, in a hash: another market, strategy or plan has another one."""
        import msgspec

        from tradebot.trading.loading import load_strategy

        digest = hashlib.sha256()
        for text in self.spec.data:
            path = Path(text.partition("=")[2] or text)
            for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
        _, strategy_hash = load_strategy(self.spec.strategies_dir, self.spec.config.strategy)
        asked = [self.spec.config, strategy_hash, self.spec.symbols, self.spec.seed, parts]
        asked += [self._training, self._options] if self._training or self._options else []
        digest.update(msgspec.json.encode(asked, enc_hook=str))
        return digest.hexdigest()

    def trained(self, as_of_ms: int, stop: Callable[[], bool]) -> ServedBefore | None:
        """Models of all symbols fitted on candles closed at ``as_of_ms``: the gate's champions of that moment, each
        serving from then on. A job that was done before is not done again. None: stopped.

        Raises DataError when a symbol has no model at all.
        """
        import msgspec

        from tradebot.backtest.run import ModelUsed
        from tradebot.backtest.served import ServedBefore
        from tradebot.cli.trained import FUNDING
        from tradebot.daemon.retraining import RetrainPlan
        from tradebot.jobs import JobResult, ParquetSource
        from tradebot.ops.files import make_private, write_atomic
        from tradebot.registry import ModelStore
        from tradebot.training.runner import run_job

        candles = self.out / "candles"
        plan = RetrainPlan.of(self.settings, ParquetSource(path=str(candles)))
        store = ModelStore(self.settings.model_store)
        done = self.out / "fits"
        make_private(done)
        models: list[ModelUsed] = []
        for file, model in product(sorted(candles.glob("*.parquet")), plan.train):
            symbol = file.stem
            if file.name == FUNDING or (
                self.spec.symbols and symbol not in {name.upper() for name in self.spec.symbols}
            ):
                continue
            record = done / f"{as_of_ms}-{symbol}{'' if model == plan.model else f'-{model}'}.json"
            if record.exists():
                models.append(msgspec.json.decode(record.read_bytes(), type=ModelUsed))
                continue
            result: JobResult = run_job(plan.job(symbol, as_of_ms, model=model), _Steps(symbol), stop)
            if result.verdict == "cancelled" or stop():
                return None
            progress(f"{symbol}: {result.verdict} {result.version}: {result.reason}")
            champion = store.champion(plan.key(symbol, model))
            if champion is None:
                raise DataError(f"{symbol}: no {model} could be fitted at that moment: {result.reason}")
            used = ModelUsed(
                symbol=symbol, name=model, version=champion.version, sha256=champion.sha256, since_ms=as_of_ms
            )
            write_atomic(record, msgspec.json.encode(used))
            models.append(used)
        return ServedBefore(self.settings.model_store, models, self.spec.settings_hash)


class _Steps:
    """A training's progress, a line now and then."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._told_s = time.monotonic()

    def __call__(self, step: JobProgress) -> None:
        if time.monotonic() - self._told_s >= TELL_EVERY_S:
            self._told_s = time.monotonic()
            left = "" if step.eta_s is None else f", eta {short_span(step.eta_s)}"
            progress(f"{self._symbol}: {step.stage} {step.message}{left}")


class Eta:
    """How far a row of equal jobs is: ``total`` of them, ``done`` so far, told as lines."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self._began_s = self._told_s = time.monotonic()
        self._skipped = 0

    def skip(self) -> None:
        """One was there already."""
        self.done += 1
        self._skipped += 1

    def step(self, text: str = "") -> None:
        """One more is done."""
        self.done += 1
        fresh = self.done - self._skipped
        left_s = (time.monotonic() - self._began_s) / fresh * max(self.total - self.done, 0)
        told = f"{self.what} {self.done}/{self.total} {text}".rstrip()
        progress(f"{told}, eta {short_span(left_s)}")

    def running(self, how: Progress) -> None:
        """Inside one."""
        if time.monotonic() - self._told_s >= TELL_EVERY_S:
            self._told_s = time.monotonic()
            left = "" if how.eta_s is None else f", {short_span(how.eta_s)} of it left"
            progress(f"{self.what} {self.done + 1}/{self.total}: {how.share:.0%}{left}")


def length_of(option: str, text: str) -> int:
    """A positive length of time in ms. Raises UsageError."""
    from tradebot.duration import Duration

    try:
        length = Duration.parse(text).ms
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option}: {error}") from None
    if length <= 0:
        raise UsageError(f"{option}: must be longer than nothing")
    return length

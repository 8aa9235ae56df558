"""`tradebot pipeline bilstm`: from an empty folder to models on the Hub, in five steps that also run alone."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tradebot.cli.jobs import Steps
from tradebot.cli.log import quiet
from tradebot.cli.options import MAX_SEED, ConfigOption, JsonOption, StoreOption, settings_of
from tradebot.cli.output import json_line, line, progress, table
from tradebot.cli.stopping import stoppable
from tradebot.cli.times import iso, short_span, wall_ms
from tradebot.cli.training_options import DeviceOption, SetOption, ThreadsOption, pairs_of
from tradebot.errors import AuthRefused, ConfigError, DataError, TradebotError, UsageError

if TYPE_CHECKING:
    from tradebot.jobs import RetrainJob
    from tradebot.settings import Settings
    from tradebot.training.pairs import Pair, PairResult, Results

app = typer.Typer(help="Many models from one command.", no_args_is_help=True, rich_markup_mode=None)

MODEL = "bilstm"
STEPS = ("check", "fetch", "train", "token", "upload")
ROOM_BYTES = 2 * 1024**3
INTERRUPTED = 130


@app.callback()
def _root() -> None: ...


@app.command()
def bilstm(
    step: Annotated[
        str | None, typer.Argument(metavar="[check|fetch|train|token|upload]", help="One step alone; default: all.")
    ] = None,
    coins: Annotated[str | None, typer.Option("--coins", metavar="BTC,ETH", help="Default: twenty coins.")] = None,
    intervals: Annotated[str, typer.Option("--intervals", metavar="15m,1h")] = "15m,1h",
    candles: Annotated[
        int, typer.Option("--candles", min=1500, help="Candles of each pair; 20000 make better models than 3000.")
    ] = 3000,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Most epochs of each model.")] = 100,
    small: Annotated[bool, typer.Option("--small", help="One layer of 64 units instead of three of 128.")] = False,
    set_: SetOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that was stopped; with more --epochs, with one that ended."),
    ] = False,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Fetched or recorded candles (default: data.root).")
    ] = None,
    repo: Annotated[str | None, typer.Option("--repo", metavar="OWNER/NAME", help="Repository on the Hub.")] = None,
    public: Annotated[bool, typer.Option("--public", help="For everybody to see; private is the default.")] = False,
    device: DeviceOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED)] = 7,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Train the BiLSTM on many coins: check, fetch candles, train all, look for the Hub's token, upload.

    What became of each pair stands in training_results.json in the model store. A coin that was renamed or delisted is
    skipped with the reason; a pair that fails does not stop the others. Exit code 0 when every other pair was trained,
    whatever its gate said.
    """
    if step is not None and step not in STEPS:
        raise UsageError(f"{step!r} is no step; choose one of {', '.join(STEPS)}, or none for all")
    overrides: dict[str, object] = {"model_store": str(store) if store is not None else None}
    settings = settings_of(config, overrides).settings
    quiet(settings.mode)
    from tradebot.training.pairs import COINS
    from tradebot.training.pairs import pairs_of as coin_pairs

    names = [part.strip() for part in coins.split(",") if part.strip()] if coins is not None else list(COINS)
    where = "auto" if device is None else device.value
    device_option = {} if where == "auto" else {"device": where}
    run = _Run(
        settings=settings,
        pairs=coin_pairs(names, [part.strip() for part in intervals.split(",") if part.strip()]),
        data=data if data is not None else Path(settings.data.root),
        candles=candles,
        epochs=epochs,
        options={**pairs_of(set_), **({"size": "small"} if small else {}), **device_option},
        resume=resume,
        repo=repo,
        public=public,
        device=where,
        seed=seed,
        threads=threads if threads is not None else 1,
        as_json=as_json,
        config=config,
    )
    code = 0
    for name in STEPS if step is None else (step,):
        if step is None and name in ("token", "upload") and repo is None:
            progress(f"{name}: left out, no --repo is named; 'tradebot pipeline bilstm upload --repo OWNER/NAME' sends")
            continue
        if step is None and name == "fetch" and run.recorded:
            progress(f"fetch: left out, {run.data} holds recorded files")
            continue
        code = max(code, getattr(run, name)())
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Run:
    """The steps, and what they share."""

    settings: Settings
    pairs: list[Pair]
    data: Path
    candles: int
    epochs: int
    options: dict[str, float | int | str | bool]
    resume: bool
    repo: str | None
    public: bool
    device: str
    seed: int
    threads: int
    as_json: bool
    config: Path | None

    @property
    def recorded(self) -> bool:
        """Whether the data are parquet files rather than a store that can be fetched into."""
        return self.data.is_file() or (self.data.is_dir() and any(self.data.glob("*.parquet")))

    @property
    def results_path(self) -> Path:
        from tradebot.training.pairs import RESULTS_FILE

        return Path(self.settings.model_store) / RESULTS_FILE

    # --- check --------------------------------------------------------------------------------------------------------

    def check(self) -> int:
        """Libraries, device, room on the disk, and which of the coins there are."""
        from tradebot.training.asked import asked_for

        for pair in {pair.interval: pair for pair in self.pairs}.values():
            asked_for(self._job(pair, 0, self.candles))  # torch, options and interval, or a line that says what to do
        import torch

        from tradebot.forecasters.nets.device import chosen_device

        progress(f"check: torch {torch.__version__} on {chosen_device(self.device)}, {self.threads} thread(s)")
        place = next(path for path in (self.data, *self.data.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < ROOM_BYTES:
            raise DataError(f"{place}: {free / 1e9:.1f} GB are free, 2 GB are needed; free some space")
        there = self._there()
        for coin in dict.fromkeys(pair.coin for pair in self.pairs):
            if coin not in there:
                progress(f"check: skipped: {self._absent(coin)}")
        if not there:
            raise DataError(f"{self._where()}: has none of these coins; nothing to train")
        progress(f"check: {len(there)} coins at {self._where()}")
        if self.repo is not None and _token() is None:
            progress("check: no token of the Hub yet; the upload will need one")
        return 0

    def _there(self) -> list[str]:
        """The coins there are candles of, or that can be fetched."""
        coins = list(dict.fromkeys(pair.coin for pair in self.pairs))
        if self.recorded:
            return [coin for coin in coins if self._has(coin)]
        listed = asyncio.run(_listed(self.settings))
        return [coin for coin in coins if f"{coin}USDT" in listed]

    def _has(self, coin: str) -> bool:
        """Whether there are candles of a coin on the disk."""
        if self.data.is_file():
            return f"{coin}USDT" in self.data.name or len({pair.coin for pair in self.pairs}) == 1
        files = any(f"{coin}USDT" in _parts(path.name) for path in self.data.glob("*.parquet"))
        return files or any(self.data.glob(f"*/candle_*/{coin}USDT"))

    def _where(self) -> str:
        return str(self.data) if self.recorded else "the exchange"

    def _absent(self, coin: str) -> str:
        from tradebot.training.pairs import absent

        return absent(coin, self._where())

    # --- fetch --------------------------------------------------------------------------------------------------------

    def fetch(self) -> int:
        """The newest candles of every pair into the data store. What is there is not asked for again."""
        from tradebot.cli.fetch import fetch
        from tradebot.training.pairs import days_for

        if self.recorded:
            raise UsageError(f"--data {self.data}: holds recorded files; name a folder to fetch into, or leave it out")
        there = self._there()
        for interval in dict.fromkeys(pair.interval for pair in self.pairs):
            symbols = [pair.symbol for pair in self.pairs if pair.interval == interval and pair.coin in there]
            if not symbols:
                raise DataError("the exchange has none of these coins; nothing to fetch")
            progress(f"fetch: {self.candles} candles of {interval} for {len(symbols)} coins")
            fetch(
                symbols=symbols,
                venues="bitget",
                kinds="candles",
                days=days_for(self.candles, interval) + 1,
                interval=interval,
                root=str(self.data),
                as_json=self.as_json,
                config=self.config,
            )
        return 0

    # --- train --------------------------------------------------------------------------------------------------------

    def train(self) -> int:
        """Every pair, one after the other."""
        from tradebot.training.pairs import PairResult, finished, read_results, write_results

        results = read_results(self.results_path)
        code, started, trained = 0, time.monotonic(), 0
        with stoppable() as stop:
            for number, pair in enumerate(self.pairs, 1):
                before = results.get(pair.name)
                if self.resume and finished(before, epochs=self.epochs, options=self.options):
                    progress(f"{number}/{len(self.pairs)} {pair.name}: done before")
                    continue
                if self._has(pair.coin):
                    result, ended = self._train(pair, before if self.resume else None, stop)
                    trained += 1
                else:
                    result, ended = PairResult(status="skipped", reason=self._not_here(pair.coin)), 0
                results[pair.name] = result
                write_results(self.results_path, results)
                code = max(code, ended if result.status in ("failed", "interrupted") else 0)
                left = (time.monotonic() - started) / max(trained, 1) * (len(self.pairs) - number)
                progress(f"{number}/{len(self.pairs)} {pair.name}: {_told(result)} (about {short_span(left)} left)")
                if stop():
                    progress("stopped; the same command with --resume goes on")
                    code = INTERRUPTED
                    break
        self._show(results)
        return code

    def _not_here(self, coin: str) -> str:
        from tradebot.training.pairs import absent

        if not self.data.exists():
            raise DataError(f"{self.data}: nothing has been fetched yet; first: tradebot pipeline bilstm fetch")
        return absent(coin, str(self.data))

    def _train(self, pair: Pair, before: PairResult | None, stop: Callable[[], bool]) -> tuple[PairResult, int]:
        from tradebot.market.candle import INTERVAL_MS, interval_start
        from tradebot.registry import ModelStore
        from tradebot.training.pairs import outcome
        from tradebot.training.runner import run_job

        work = Path(self.settings.state_dir) / "pipeline" / MODEL / pair.name
        candles = before.candles if before is not None and before.candles else self.candles
        as_of_ms = before.as_of_ms if before is not None and before.as_of_ms else self._newest(pair)
        as_of_ms = interval_start(as_of_ms, INTERVAL_MS[pair.interval])
        if before is None:
            shutil.rmtree(work, ignore_errors=True)
        job = self._job(pair, as_of_ms, candles)
        with Steps() as shown:
            ended = run_job(job, shown, stop, work)
        entry = outcome(
            ended,
            ModelStore(job.store),
            candles=candles,
            as_of_ms=as_of_ms,
            epochs=self.epochs,
            options=self.options,
        )
        return entry, ended.exit_code

    def _job(self, pair: Pair, as_of_ms: int, candles: int) -> RetrainJob:
        from tradebot.jobs import JobCosts, ParquetSource, RetrainJob
        from tradebot.trading.risk import PROVISIONAL_MODES
        from tradebot.training.pairs import days_for

        return RetrainJob(
            id=f"{as_of_ms:014d}-{pair.symbol}-{MODEL}-{pair.interval}-pipeline",
            symbol=pair.symbol,
            model=MODEL,
            as_of_ms=as_of_ms,
            declared_ms=0,
            days=days_for(candles, pair.interval),
            source=ParquetSource(path=str(self.data.absolute())),
            store=str(self.settings.model_store),
            seed=self.seed,
            trials=1,
            epochs=self.epochs,
            threads=self.threads,
            allow_provisional=self.settings.mode in PROVISIONAL_MODES,
            costs=JobCosts(),
            options=self.options,
            interval=pair.interval,
        )

    def _newest(self, pair: Pair) -> int:
        """When the newest candle on the disk ended, so that a history that ends in the past is trained to its end."""
        from tradebot.data.files import read_candles
        from tradebot.data.partition import day_start
        from tradebot.market.candle import DAY_MS

        if not self.recorded:
            days = [path.stem for path in self.data.glob(f"*/candle_*/{pair.symbol}/*.parquet")]
            return min(wall_ms(), day_start(max(days)) + DAY_MS) if days else wall_ms()
        files = [self.data] if self.data.is_file() else sorted(self.data.glob("*.parquet"))
        own = [path for path in files if pair.symbol in _parts(path.name)] or files[:1]
        return max(read_candles(path).end_ms for path in own)

    def _show(self, results: Results) -> None:
        if self.as_json:
            for pair in self.pairs:
                if pair.name in results:
                    json_line({"pair": pair.name, "result": results[pair.name]})
            return
        rows = []
        for pair in self.pairs:
            if (result := results.get(pair.name)) is None:
                continue
            rows.append(
                (
                    pair.name,
                    result.status,
                    result.version,
                    _epochs(result),
                    _figure(result, "mase"),
                    _figure(result, "direction_accuracy"),
                    "" if result.val_mape is None else f"{result.val_mape:.3f} ({result.val_mape_persistence:.3f})",
                    iso(result.as_of_ms)[:16] if result.as_of_ms else result.reason,
                )
            )
        table(
            ["pair", "status", "version", "epochs", "MASE", "direction", "MAPE % (persistence)", "data to (UTC)"], rows
        )
        line(f"{self.results_path}: written")

    # --- token and upload ---------------------------------------------------------------------------------------------

    def token(self) -> int:
        """Whether there is a token for the Hub. It is never shown."""
        if _token() is None:
            raise AuthRefused(
                "no token of the HuggingFace Hub; make one that may write at https://huggingface.co/settings/tokens "
                "and put it into $CREDENTIALS_DIRECTORY/hub_token, TRADEBOT_HUB__TOKEN or HF_TOKEN"
            )
        progress("token: there is one")
        return 0

    def upload(self) -> int:
        """The trained models and the results file. What is there already is not sent again."""
        from tradebot.registry import ModelKey, ModelStore
        from tradebot.training.pairs import read_results

        if self.repo is None:
            raise UsageError("name where to upload to: --repo OWNER/NAME")
        try:
            from tradebot.registry.hub import push
        except ModuleNotFoundError as error:
            raise ConfigError(f"uploading needs {error.name}: pip install 'tradebot[hub]'") from error
        results = read_results(self.results_path)
        keys = [
            ModelKey(pair.symbol, MODEL, pair.interval)
            for pair in self.pairs
            if (known := results.get(pair.name)) is not None and known.status == "success"
        ]
        if not keys:
            raise DataError(f"{self.results_path}: no pair was trained yet; 'tradebot pipeline bilstm train' does")
        done = push(
            ModelStore(Path(self.settings.model_store)),
            keys,
            self.repo,
            token=_token(),
            private=not self.public,
            on_line=progress,
        )
        for item in done:
            if self.as_json:
                json_line(item)
        failed = [item for item in done if item.state == "failed"]
        if failed:
            raise TradebotError(f"{len(failed)} of {len(done)} models were not uploaded: {failed[0].problem}")
        line(f"hf:{self.repo}: {sum(item.state == 'pushed' for item in done)} models sent")
        return 0


async def _listed(settings: Settings) -> set[str]:
    from tradebot.exchange.bitget.rest import BitgetRest

    async with BitgetRest(settings.exchange.rest_url, limited=settings.exchange.rate_limited) as rest:
        return {contract.symbol for contract in await rest.contracts()}


def _token() -> str | None:
    from tradebot.settings import load_hub_token

    return load_hub_token()


def _parts(name: str) -> set[str]:
    """A file name's parts, so that ARBUSDT is not found in OARBUSDT."""
    return set(name.removesuffix(".parquet").split("_"))


def _told(result: PairResult) -> str:
    if result.status != "success":
        return f"{result.status}: {result.reason}"
    return f"{result.version} {result.verdict}, MASE {_figure(result, 'mase')}"


def _epochs(result: PairResult) -> str:
    return "" if result.best_epoch is None else f"{result.best_epoch}/{result.total_epochs}"


def _figure(result: PairResult, name: Literal["mase", "direction_accuracy"]) -> str:
    figure = result.figures.get(name)
    if figure is None or figure.value is None:
        return ""
    spread = f" [{figure.low:.4f}, {figure.high:.4f}]" if figure.low is not None and figure.high is not None else ""
    return f"{figure.value:.4f}{spread}"

"""Training one family on many coins and intervals: which pairs, what became of each, and where that is written.

The results file holds one entry for each ``SYMBOL_interval`` and is replaced after every pair, so a run that was
stopped is gone on with where it was, and one that had ended can be given more epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tradebot.errors import DataError, UsageError
from tradebot.jobs import JobResult
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.ops.files import disk_error, replacing
from tradebot.registry import ModelKey, ModelStore

COINS = (
    *("BTC", "ETH", "BNB", "XRP", "LTC", "ADA", "SOL", "DOGE", "AVAX", "LINK"),
    *("MATIC", "ATOM", "NEAR", "FTM", "ARB", "OP", "STX", "INJ", "LUNC", "LUNA"),
)
RENAMED = {"MATIC": "POL", "FTM": "S"}
"""Coins that trade under another name since (Polygon 2024-09, Fantom 2025-01)."""
RESULTS_FILE = "training_results.json"
FIGURES_FILE = "fit.json"
SHOWN = ("mase", "skill_vs_persistence", "direction_accuracy", "mape", "mape_persistence")

Status = Literal["success", "failed", "skipped", "interrupted"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One coin's contract at one interval."""

    coin: str
    interval: str

    @property
    def symbol(self) -> str:
        return f"{self.coin}USDT"

    @property
    def name(self) -> str:
        """Its entry in the results file.

        >>> Pair("BTC", "15m").name
        'BTCUSDT_15m'
        """
        return f"{self.symbol}_{self.interval}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure on untouched rows with its interval and what its baseline reaches."""

    value: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None


class PairResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a pair. ``val_mape`` (%) and ``best_val_loss`` are of the validation rows, ``figures`` of rows
    that decided nothing. ``as_of_ms``, ``candles``, ``epochs`` and ``options`` are what was asked for."""

    status: Status
    reason: str = ""
    best_val_loss: float | None = None
    best_epoch: int | None = None
    total_epochs: int | None = None
    val_mape: float | None = None
    val_mape_persistence: float | None = None
    figures: dict[str, Figure] = {}
    version: str = ""
    verdict: str = ""
    as_of_ms: int = 0
    candles: int = 0
    epochs: int = 0
    options: dict[str, float | int | str | bool] = {}
    took_s: float = 0.0


Results = dict[str, PairResult]


def pairs_of(coins: Sequence[str], intervals: Sequence[str]) -> list[Pair]:
    """Every coin at every interval. A coin may be written as its contract (BTCUSDT). Raises UsageError."""
    wrong = [interval for interval in intervals if interval not in INTERVAL_MS]
    if wrong or not intervals or not coins:
        raise UsageError(f"--intervals: {', '.join(wrong) or 'none'} is no interval; e.g. 15m,1h")
    bare = [coin.upper().removesuffix("USDT") for coin in coins]
    if not all(coin.isalnum() for coin in bare):
        raise UsageError(f"--coins: {', '.join(coins)}: write names with commas between them, e.g. BTC,ETH")
    return [Pair(coin, interval) for coin in dict.fromkeys(bare) for interval in dict.fromkeys(intervals)]


def absent(coin: str, where: str) -> str:
    """Why a coin that ``where`` does not have is left out.

    >>> absent("FTM", "the exchange")
    'the exchange has no FTMUSDT: FTM is called S now (--coins S)'
    """
    now = RENAMED.get(coin)
    because = f"{coin} is called {now} now (--coins {now})" if now else "delisted, or never listed"
    return f"{where} has no {coin}USDT: {because}"


def days_for(candles: int, interval: str) -> int:
    """Whole days that hold so many candles.

    >>> days_for(3000, "15m"), days_for(3000, "1h")
    (32, 125)
    """
    return -(-candles * INTERVAL_MS[interval] // DAY_MS)


def read_results(path: Path) -> Results:
    """The results of earlier runs; none where there is no file. Raises DataError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk_error("read", path, error) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DataError(f"{path}: is no results file ({error}); move it away and train again") from error


def write_results(path: Path, results: Mapping[str, PairResult]) -> None:
    """Replace the results file at once. Raises BusyError when the disk is full, DataError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(dict(results))) + b"\n")


def finished(result: PairResult | None, *, epochs: int, options: Mapping[str, object]) -> bool:
    """Whether nothing is left to do for a pair with these wishes."""
    return result is not None and result.status == "success" and result.epochs == epochs and result.options == options


def outcome(
    ended: JobResult,
    store: ModelStore,
    *,
    candles: int,
    as_of_ms: int,
    epochs: int,
    options: Mapping[str, float | int | str | bool],
) -> PairResult:
    """The entry of a training that ended. A version that its gate refused was trained all the same."""
    asked = PairResult(
        status="interrupted" if ended.verdict == "cancelled" else "failed",
        reason=ended.reason,
        verdict=ended.verdict,
        as_of_ms=as_of_ms,
        candles=candles,
        epochs=epochs,
        options=dict(options),
        took_s=ended.took_s,
    )
    if not ended.version:
        return asked
    key = ModelKey(ended.symbol, ended.model, ended.interval)
    fit = msgspec.json.decode(store.files(key, ended.version)[FIGURES_FILE])
    return msgspec.structs.replace(
        asked,
        status="success",
        best_val_loss=fit["best_val_loss"],
        best_epoch=fit["best_epoch"],
        total_epochs=fit["total_epochs"],
        val_mape=fit["val_mape"],
        val_mape_persistence=fit["val_mape_persistence"],
        figures={
            name: Figure(value=metric.value, low=metric.low, high=metric.high, baseline=metric.baseline)
            for name, metric in ended.metrics.items()
            if name in SHOWN
        },
        version=ended.version,
    )

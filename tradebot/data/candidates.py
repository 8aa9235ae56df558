"""Which symbols to collect: perpetuals by mean daily quote volume, and those with the best coverage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from tradebot.data.channels import SYMBOL_NAME, channel_of
from tradebot.data.partition import date_of, days_between
from tradebot.data.patience import Patience
from tradebot.data.sources.bitget import BitgetHistory
from tradebot.data.sources.pages import page_windows
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import write_atomic

HEADER = "# rank symbol mean_daily_quote_volume_usdt"


class Candidate(msgspec.Struct, frozen=True):
    """A symbol with its rank (from 1) and its mean quote volume of a day, USDT."""

    rank: int
    symbol: str
    mean_daily_quote_volume: float


class Coverage(msgspec.Struct, frozen=True):
    """How much of a stretch is stored for a symbol: rows there are and rows the grid has."""

    symbol: str
    rows: int
    expected: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.rows / self.expected if self.expected else 0.0


async def rank_symbols(
    rest: BitgetRest, top: int, days: int, ask: Patience, *, heard: Callable[[int, int], None] = lambda done, of: None
) -> list[Candidate]:
    """The ``top`` USDT perpetuals that can be traded, by mean quote volume over the last ``days`` whole UTC days.

    Days before a contract was listed count as days without volume, so that a new coin's first days do not rank it
    high. ``heard(done, of)`` is told of the symbols looked at. Raises ExchangeError.
    """
    history = BitgetHistory(rest)
    end = await history.now_ms() // DAY_MS * DAY_MS
    begin = end - days * DAY_MS
    symbols = [contract.symbol for contract in await rest.contracts() if contract.status == "normal"]
    done = 0

    async def volume(symbol: str) -> float:
        nonlocal done
        total = 0.0
        for start, stop in page_windows(begin, end, DAY_MS, history.page_rows("1d")):
            page = await ask(partial(history.candles, symbol, "1d", start, stop, mark=False))
            total += sum(row.quote_volume for row in page if start <= row.open_time_ms < stop)
        done += 1
        heard(done, len(symbols))
        return total / days

    means = dict(zip(symbols, await asyncio.gather(*map(volume, symbols)), strict=True))
    ranked = sorted(means, key=lambda symbol: (-means[symbol], symbol))[:top]
    return [Candidate(rank, symbol, means[symbol]) for rank, symbol in enumerate(ranked, start=1)]


def write_candidates(path: Path, candidates: Sequence[Candidate], about: str) -> None:
    """Write ``candidates.txt``: rank, symbol, mean daily quote volume, tab-separated, below comment lines."""
    rows = [f"{c.rank}\t{c.symbol}\t{c.mean_daily_quote_volume:.2f}" for c in candidates]
    write_atomic(path, "\n".join([HEADER, f"# {about}", *rows, ""]).encode())


def read_candidates(path: Path) -> list[Candidate]:
    """A ``candidates.txt``. Raises DataError with file and line for anything that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it with 'tradebot data symbols'") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not text; make it with 'tradebot data symbols'") from None
    found: list[Candidate] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            rank, symbol, volume = words
            candidate = Candidate(int(rank), symbol, float(volume))
        except ValueError:
            raise DataError(f"{path}:{number}: expected rank, symbol and volume, has {line.strip()[:60]!r}") from None
        if not SYMBOL_NAME.fullmatch(symbol):
            raise DataError(f"{path}:{number}: {symbol!r} is no symbol; write it as the exchange does, like SOLUSDT")
        if any(symbol == other.symbol for other in found):
            raise DataError(f"{path}:{number}: {symbol} stands here twice; keep one line")
        found.append(candidate)
    if not found:
        raise DataError(f"{path}: names no symbol; make it with 'tradebot data symbols'")
    return found


def coverage(
    store: Store, exchange: str, channel: str, symbols: Sequence[str], from_ms: int, to_ms: int
) -> list[Coverage]:
    """How much of ``from_ms <= t < to_ms`` is stored, most complete first; equal ones in the order given.

    Only for channels on a grid, whole days counted. Raises DataError for another channel or damaged files.
    """
    step = channel_of(channel).step_ms
    if step is None:
        raise DataError(f"{channel} has no grid, so its coverage cannot be told; choose candles or books")
    days = set(days_between(from_ms, to_ms))
    expected = (to_ms - from_ms) // step
    found = [
        Coverage(
            symbol,
            sum(p.manifest.rows for p in store.partitions(exchange, channel, symbol) if p.date in days),
            expected,
        )
        for symbol in symbols
    ]
    return sorted(found, key=lambda one: -one.share)


def most_complete(
    store: Store, exchange: str, channel: str, file: Path, count: int, from_ms: int, to_ms: int
) -> tuple[Path, list[Coverage]]:
    """Write the ``count`` symbols of ``file`` of which most is stored beside it, as ``…-most-complete``.

    Returns that file and what they cover. Raises as :func:`coverage` and :func:`read_candidates`.
    """
    candidates = read_candidates(file)
    covered = coverage(store, exchange, channel, [one.symbol for one in candidates], from_ms, to_ms)[:count]
    volumes = {one.symbol: one.mean_daily_quote_volume for one in candidates}
    stretch = f"{date_of(from_ms)} to {date_of(to_ms - 1)}"
    about = f"the {len(covered)} of {len(candidates)} with most rows of {channel}, {stretch}"
    target = file.with_name(f"{file.stem}-most-complete{file.suffix}")
    write_candidates(target, [Candidate(i, c.symbol, volumes[c.symbol]) for i, c in enumerate(covered, 1)], about)
    return target, covered


def described(days: int, now_ms: int) -> str:
    """What a list says of itself.

    >>> described(92, 1_767_657_600_000)
    'Bitget USDT perpetuals, the 92 days before 2026-01-06 UTC; days before listing count as 0'
    """
    return f"Bitget USDT perpetuals, the {days} days before {date_of(now_ms)} UTC; days before listing count as 0"

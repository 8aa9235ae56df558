"""The embedded exchange of a demo: a process of its own that the daemon's clock drives."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import aiohttp
import msgspec

from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.demo.folder import LOGS, open_log
from tradebot.duration import Duration
from tradebot.errors import DataError, TradebotError
from tradebot.market.candle import INTERVAL_MS
from tradebot.ops.process import die_with_parent


class Market(msgspec.Struct):
    """What the embedded exchange says of itself at ``/sim/market``."""

    symbols: tuple[str, ...]
    start: int
    end: int
    intervals: tuple[int, ...]


class Faults(msgspec.Struct):
    """What the embedded exchange says of its faults at ``/sim/faults``: hits by kind and scope, rules without any."""

    injected: dict[str, dict[str, int]]
    idle: tuple[str, ...]


@dataclass(slots=True)
class Exchange:
    """A running one, and where it is reached."""

    process: asyncio.subprocess.Process
    rest_url: str
    ws_url: str

    async def stop(self) -> None:
        """End it; killed when it has not ended within 5 s."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 5)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    async def market(self) -> Market:
        """What it trades."""
        return msgspec.json.decode(await self._get("/sim/market"), type=Market)

    async def faults(self) -> Faults:
        """What went wrong in it on purpose."""
        return msgspec.json.decode(await self._get("/sim/faults"), type=Faults)

    async def _get(self, path: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(f"{self.rest_url}{path}") as answer:
            return await answer.read()


async def start_exchange(demo: Demo) -> Exchange:
    """Start it, standing still until the daemon attaches to its clock.

    Raises TradebotError with what it said when it ends at once.
    """
    command = [sys.executable, "-m", "tradebot", "sim", "--hold", "--speed", demo.speed, "--seed", str(demo.seed)]
    command += ["--for", f"{demo.length_ms // 1000}s", "--history-days", str(demo.history_days)]
    if demo.break_days is not None:
        command += ["--break-days", str(demo.break_days)]
    for path in demo.replay:
        command += ["--market", path]
    for symbol in demo.symbols:
        command += ["--symbols", symbol]
    if demo.faults is not None:
        command += ["--faults", str(demo.faults)]
    said = demo.state_dir / LOGS / "exchange.log"
    with open_log(said) as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        code = await process.wait()
        message = said.read_text(errors="replace").strip() or "the exchange ended without a word"
        raise ended(message.removeprefix("tradebot: "), code)
    urls = msgspec.json.decode(line)
    return Exchange(process, urls["rest"], urls["ws"])


def refuse_coarse(market: Market, interval: str) -> None:
    """Raises DataError when a market would have to invent the candles that the models decide on."""
    coarse = [
        f"{symbol} ({Duration(interval_ms)})"
        for symbol, interval_ms in zip(market.symbols, market.intervals, strict=True)
        if interval_ms > INTERVAL_MS[interval]
    ]
    if coarse:
        raise DataError(
            f"the recorded candles of {', '.join(coarse)} are coarser than the {interval} candles that the models "
            f"read, and what happened between them is not known; give files of {interval} or less"
        )


def ended(message: str, code: int) -> TradebotError:
    """The exchange's own one-line error, with its own exit code."""
    error = TradebotError(message)
    error.exit_code = code or 1
    return error

"""Waiting for work without losing what ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from tradebot.errors import AuthRefused, ExchangeError

log = structlog.get_logger(__name__)


async def first_of(wanted: Awaitable[None], running: asyncio.Task[None], *, timeout_s: float) -> None:
    """Wait for ``wanted``, but not longer than ``timeout_s``; raise what ended ``running``, should that come first."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, running}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
    if running.done():
        running.result()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what still runs and raise what failed."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


async def patiently(work: Callable[[], Awaitable[None]]) -> None:
    """An exchange that is away for a while ends nothing: whoever asked it asks again later. Raises AuthRefused."""
    try:
        await work()
    except AuthRefused:
        raise
    except ExchangeError as error:
        log.warning("exchange_away", reason=str(error))

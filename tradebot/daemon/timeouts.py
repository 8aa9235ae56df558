"""How long the daemon waits for the exchange, in seconds of monotonic time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tradebot.exchange.bitget.pacing import Timing


@dataclass(frozen=True, slots=True)
class Timeouts:
    """``stream``: pings, acks and reconnects. ``rest_timeout_s``: one request. ``first_retry_s``: before it is
    repeated, doubling. ``pause``: between two questions about an order of unknown outcome. ``reconcile_every_ms``: of
    the bot's clock, between two looks at the account as a whole; None: as the drive does."""

    stream: Timing = field(default_factory=Timing)
    rest_timeout_s: float = 10.0
    first_retry_s: float = 1.0
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    reconcile_every_ms: int | None = None

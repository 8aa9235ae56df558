"""How often the exchange is asked for connections, and how subscriptions are spread over them."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from tradebot.exchange.bitget.latency import EDGES_MS, Latency
from tradebot.exchange.bitget.pacing import Allowance, Attempts
from tradebot.exchange.bitget.stream import CHANNELS_PER_CONNECTION, CONNECTIONS
from tradebot.exchange.bitget.subscription import sharded

CHANNELS = ("books", "trade", "ticker", "candle5m")


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5))
def test_no_window_ever_sees_more_than_its_allowance(pauses: list[float], count: int) -> None:
    now = 0.0
    allowance = Allowance(count, 1.0, now=lambda: now)
    done: list[float] = []
    for pause in pauses:
        now += pause
        now += allowance.wait_s()
        allowance.take()
        done.append(now)
    for first, later in zip(done, done[count:], strict=False):
        assert later - first >= 1.0 - 1e-9


def test_an_unused_allowance_makes_nobody_wait() -> None:
    now = 100.0
    allowance = Allowance(3, 1.0, now=lambda: now)
    for _ in range(3):
        assert allowance.wait_s() == 0.0
        allowance.take()
    assert allowance.wait_s() == 1.0


async def test_connections_are_tried_one_after_the_other() -> None:
    attempts = Attempts(Allowance(4, 0.2), spacing_s=0.01)
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def attempt() -> None:
        await attempts.turn()
        moments.append(loop.time())

    await asyncio.gather(*(attempt() for _ in range(8)))
    assert len(moments) == 8
    assert all(later - first >= 0.009 for first, later in itertools.pairwise(moments))
    assert moments[4] - moments[0] >= 0.15


def test_every_symbol_of_the_exchange_fits_the_limits() -> None:
    symbols = [f"COIN{n}USDT" for n in range(600)]
    shards = sharded(symbols, CHANNELS, per_connection=CHANNELS_PER_CONNECTION, connections=CONNECTIONS)
    assert len(shards) == 50
    assert max(len(shard) for shard in shards) < 50
    assert {(s.channel, s.inst_id) for shard in shards for s in shard} == {(c, s) for c in CHANNELS for s in symbols}
    for shard in shards:
        for symbol in {s.inst_id for s in shard}:
            assert sum(s.inst_id == symbol for s in shard) == len(CHANNELS), "a symbol stays on one connection"


@given(st.integers(0, 3_000), st.integers(1, 8), st.integers(1, 120))
def test_there_are_never_more_connections_than_allowed(symbols: int, channels: int, per_connection: int) -> None:
    shards = sharded(
        [str(n) for n in range(symbols)], CHANNELS[:channels], per_connection=per_connection, connections=90
    )
    assert len(shards) <= 90
    assert sum(len(shard) for shard in shards) == symbols * len(CHANNELS[:channels])


@given(st.lists(st.floats(0.06, 100_000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_right_to_within_a_bucket(values: list[float], q: float) -> None:
    latency = Latency()
    for value in values:
        latency.add(value)
    exact = sorted(values)[max(0, -(-int(q * len(values) * 1e9) // int(1e9)) - 1)]
    found = latency.quantile(q)
    assert found <= max(values)
    assert exact / 1.4143 <= found <= max(exact * 1.4143, EDGES_MS[0]) * 1.4143

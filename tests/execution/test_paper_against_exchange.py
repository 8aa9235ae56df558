"""The same tape and the same commands: what the paper broker fills is what the embedded exchange fills."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from tests.execution.tape import View, exchange_latency, orders, play, watch
from tests.shared import shared_path
from tradebot.events import Filled
from tradebot.execution.latency import uniform
from tradebot.sim.market import open_market
from tradebot.sim.source import MarketSource

MINUTES = 5


def generated() -> list[MarketSource]:
    return open_market([], ["SOLUSDT", "BTCUSDT"], 3, for_ms=10 * 60_000, history_days=8, book_interval_ms=500)


def recorded() -> list[MarketSource]:
    parts = (
        shared_path(f"data/market/lob/standx_BTCUSD_perp_20260105_{part}.parquet") for part in ("1s_l10", "trades")
    )
    return open_market([f"BTCUSDT={part}" for part in parts], ["BTCUSDT"], 3, for_ms=10 * 60_000)


def told(fills: list[Filled]) -> list[tuple[object, ...]]:
    """Everything of executions but the names that each side gives them."""
    return [
        (
            f.client_oid if f.client_oid.startswith("order-") else "",
            f.symbol, f.side, f.price, f.qty, f.fee, f.realised, f.maker, f.ts_exchange_ms,
        )
        for f in fills
    ]  # fmt: skip


@pytest.mark.parametrize(("tape", "seed"), [(generated, 1), (generated, 9), (recorded, 1)])
async def test_fills_are_the_same_to_the_last_digit_and_millisecond(
    tape: Callable[[], list[MarketSource]], seed: int
) -> None:
    first_ms = tape()[0].start_ms + 1_000
    commands = orders(tape(), watch(tape(), first_ms + MINUTES * 60_000), first_ms, 150, seed)
    paper, exchange = await play(tape(), commands)
    assert told(paper.fills) == told(exchange.fills)
    assert len(paper.fills) > 60
    assert {fill.maker for fill in paper.fills} == {True, False}
    answers = [(o.client_oid, o.command, o.outcome, o.code) for o in paper.outcomes]
    assert answers == [(o.client_oid, o.command, o.outcome, o.code) for o in exchange.outcomes]
    assert {outcome for *_, outcome, _ in answers} == {"accepted", "rejected"}
    assert paper.cash == exchange.cash != D(10_000_000)


async def test_another_latency_or_a_later_view_of_the_market_fills_otherwise() -> None:
    first_ms = generated()[0].start_ms + 1_000
    commands = orders(generated(), watch(generated(), first_ms + 60_000), first_ms, 40)
    for latency, view in ((uniform(300, 900), View()), (exchange_latency, View(delay_ms=900))):
        paper, exchange = await play(generated(), commands, latency, view)
        assert told(paper.fills) != told(exchange.fills)
        assert paper.fills

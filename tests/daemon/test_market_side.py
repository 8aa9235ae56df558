"""What trading and recording are both made of takes its limits from the settings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.eventually import eventually
from tests.exchange.servers import Recorder, stream_server
from tradebot.daemon.market import MarketSide
from tradebot.settings import Settings


@pytest.mark.parametrize(("silence", "told"), [("1s", ["books silent for 1 s"]), ("60s", [])])
async def test_when_data_count_as_lost_is_as_the_settings_say(
    silence: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 1_760_000_000_000
    async with stream_server() as server:
        tree: dict[str, Any] = {
            "symbols": ["SOLUSDT"],
            "exchange": {"public_ws": f"ws://{server.url}" if "://" not in server.url else server.url},
            "feed": {"silence": silence, "answer": "30s"},
        }
        heard = Recorder()
        market = MarketSide(Settings.model_validate(tree), lambda event: None)
        monkeypatch.setattr(market.clock, "now_ms", lambda: now_ms)
        stream = market.connect([heard])  # type: ignore[list-item]
        running = await market.start()
        await eventually(lambda: len(heard.feed) == 1)
        for _ in range(13):
            now_ms += 100
            stream.on_time()
        await market.leave()
        await market.rest.close()
    assert running.done()
    assert [why for _, ok, why in heard.feed if not ok and why.startswith("books silent")] == told

"""The doctor asks the exchange whether it takes the key."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tradebot
from tests.sim.clients import KEY, PASSPHRASE, SECRET
from tests.sim.walk import WalkSource
from tradebot.sim.auth import Credentials
from tradebot.sim.server import EmbeddedExchange


@contextmanager
def exchange(**options: Any) -> Iterator[str]:
    """An embedded exchange beside this thread; its REST address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = EmbeddedExchange([WalkSource()], hold=True, **options)
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield server.rest_url
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KEY", KEY), ("SECRET", SECRET), ("PASSPHRASE", PASSPHRASE)):
        monkeypatch.setenv(f"TRADEBOT_EXCHANGE__{name}", value)


def account(tradebot: Tradebot, home: Path, url: str) -> dict[str, str]:
    (home / "config.yaml").write_text(f"mode: exchange-demo\nsymbols: [SOLUSDT]\nexchange:\n  rest_url: {url}\n")
    done = tradebot("doctor", "--json")
    found = {row["check"]: row for row in map(json.loads, done.out.splitlines())}
    assert found["config"]["result"] == "ok", found["config"]
    return dict(found["account"])


@pytest.mark.usefixtures("key")
def test_a_classic_account_is_told_with_its_settings(tradebot: Tradebot, home: Path) -> None:
    with exchange() as url:
        found = account(tradebot, home, url)
    assert found["result"] == "ok", found
    assert found["detail"].startswith("classic, one_way_mode, SOLUSDT ")
    assert ", fees 2 bp maker, 6 bp taker; clock " in found["detail"]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"account": "unified"}, "unified (UTA)"),
        ({"credentials": Credentials(KEY, SECRET, PASSPHRASE, environment="live")}, "other environment"),
        ({"credentials": Credentials(KEY, "another", PASSPHRASE)}, "code 40009"),
    ],
)
def test_an_account_that_cannot_be_traded_is_told_in_one_line(
    tradebot: Tradebot, home: Path, options: dict[str, Any], said: str
) -> None:
    with exchange(**options) as url:
        found = account(tradebot, home, url)
    assert found["result"] == "failed"
    assert said in found["detail"]
    assert "\n" not in found["detail"]

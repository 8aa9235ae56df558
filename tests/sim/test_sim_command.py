"""``tradebot sim`` as its document describes it, in a process of its own."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.sim.clients import PRODUCT, Stream

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/embedded-exchange.md"


@contextmanager
def _sim(*options: str) -> Iterator[dict[str, str]]:
    """The addresses of a running ``tradebot sim``."""
    command = [sys.executable, "-m", "tradebot", "sim", "--history-days", "8", "--for", "1h", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
    assert process.returncode == 0


async def test_many_symbols_are_renewed_as_often_as_asked_with_the_frames_asked_for() -> None:
    options = ("--generated-symbols", "40", "--book-interval", "100ms", "--book-frames", "sequence")
    with _sim(*options, "--account", "unified") as at:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(at["ws"] + "/v2/ws/public")
            stream = Stream(socket)
            for first in (0, 20):
                symbols = [f"GEN{number:03d}USDT" for number in range(first, first + 20)]
                args = [{"instType": PRODUCT, "channel": "books", "instId": symbol} for symbol in symbols]
                await stream.send({"op": "subscribe", "args": args})
            updates: dict[str, list[int]] = {}
            while len(updates) < 40 or min(len(stamps) for stamps in updates.values()) < 5:
                said = await stream.next()
                if said.get("action") == "update":
                    row = said["data"][0]
                    assert "checksum" not in row
                    updates.setdefault(said["arg"]["instId"], []).append(int(row["ts"]))
            for stamps in updates.values():
                assert {b - a for a, b in itertools.pairwise(stamps)} == {100}
            async with session.get(at["rest"] + "/api/v2/public/time") as response:
                assert response.headers["x-mbx-used-remain-limit"] == "19"


def test_the_documented_lines_for_ccxt_work(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    with _sim() as at:
        exec(compile(code.replace("http://127.0.0.1:8899", at["rest"]), str(DOCUMENT), "exec"), {})
    assert float(capsys.readouterr().out) > 0

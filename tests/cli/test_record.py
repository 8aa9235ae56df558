"""``tradebot record`` as a person runs it: against the embedded exchange, to the end and to Ctrl-C, and back again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventually import presently
from tradebot.data.store import Store
from tradebot.sim.market import open_market


@pytest.fixture(scope="module")
def exchange() -> Iterator[dict[str, str]]:
    """Addresses of an embedded exchange that waits for a paced client, as environment variables."""
    command = [
        sys.executable,
        "-m",
        "tradebot",
        "sim",
        "--hold",
        "--speed",
        "max",
        "--for",
        "2d",
        "--history-days",
        "9",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    urls = json.loads(process.stdout.readline())
    yield {
        "TRADEBOT_EXCHANGE__REST_URL": urls["rest"],
        "TRADEBOT_EXCHANGE__PUBLIC_WS": urls["ws"] + "/v2/ws/public",
        "TRADEBOT_EXCHANGE__CLOCK": "paced",
        "TRADEBOT_EXCHANGE__RATE_LIMITED": "false",
    }
    process.terminate()
    process.wait(10)


def record(folder: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradebot", "record", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_recording_lands_in_the_store_and_is_a_market_again(exchange: dict[str, str], tmp_path: Path) -> None:
    done = record(tmp_path, exchange, "--symbol", "SOLUSDT", "--for", "40m", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["lost"], result["problems"], len(result["days"])) == (0, [], 1)
    files = {Path(file).parent.parent.name: file for file in result["files"]}
    assert set(files) == {"book_1s_l10", "trade", "sealed_candle_5m", "ticker", "open_interest", "gap"}
    (gap, _) = Store(tmp_path / "data").read("bitget", "gap", "SOLUSDT").to_pylist()
    assert gap["reason"] == "not recording"
    assert "recording SOLUSDT" in done.stderr
    (market,) = open_market([f"SOLUSDT={files[name]}" for name in ("book_1s_l10", "trade", "sealed_candle_5m")], [], 7)
    assert "recorded order books of SOLUSDT" in market.description


def test_ctrl_c_ends_a_recording_with_everything_in_the_store(exchange: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tradebot", "record", "--symbol", "SOLUSDT"],
        cwd=tmp_path,
        env={**os.environ, **exchange},
        stdout=subprocess.PIPE,
        text=True,
    )
    raw = tmp_path / "state" / "recorder"
    presently(lambda: any(file.stat().st_size > 4_000 for file in raw.rglob("*.rec")))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "records, 0 lost" in said
    assert Store(tmp_path / "data").read("bitget", "book_1s_l10", "SOLUSDT").num_rows > 5
    assert not list((tmp_path / "state" / "recorder").rglob("*.rec"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--symbol", "NOPEUSDT", "--for", "1h"], 78, "NOPEUSDT: not a contract of this exchange"),
        (["--venue", "kraken"], 78, "expected a list of venues (binance-spot, binance-perp, bybit-spot)"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_one_line(
    exchange: dict[str, str], tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = record(tmp_path, exchange, *arguments)
    assert done.returncode == code, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("tradebot: ")]
    assert len(said) == 1
    assert words in said[0]
    assert done.stdout == ""


def test_named_symbols_are_recorded_where_the_bot_chooses_its_own(exchange: dict[str, str], tmp_path: Path) -> None:
    chosen = {**exchange, "TRADEBOT_UNIVERSE__TOP": "5"}
    done = record(tmp_path, chosen, "--symbol", "NOPEUSDT", "--for", "1h")
    assert "NOPEUSDT: not a contract of this exchange" in done.stderr


def test_an_exchange_that_does_not_answer_is_one_line(exchange: dict[str, str], tmp_path: Path) -> None:
    away = {
        **exchange,
        "TRADEBOT_EXCHANGE__PUBLIC_WS": "ws://127.0.0.1:9/v2/ws/public",
        "TRADEBOT_EXCHANGE__REST_URL": "http://127.0.0.1:9",
    }
    done = record(tmp_path, away, "--symbol", "SOLUSDT")
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1].startswith("tradebot: ")

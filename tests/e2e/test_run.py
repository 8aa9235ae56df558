"""``tradebot run`` and the daemon behind it: paper fills, wall-clock time, and every way not to start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import SYMBOL, Sim, settings_json
from tests.e2e.daemon_process import count_orders, start, wait_for_orders
from tests.eventually import presently
from tradebot.cli.control import ask
from tradebot.errors import Unavailable
from tradebot.events import Decision, Filled, StopUpdated
from tradebot.execution.paper import PaperState
from tradebot.journal import JournalReader, journal_directory


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(20)


def records(state: Path, kind: type) -> list[Any]:
    return [f.record for f in JournalReader(journal_directory(state)).frames() if isinstance(f.record, kind)]


def status(state: Path, within_s: float = 60.0) -> dict[str, Any]:
    """The daemon's snapshot once it is ready."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            shot: dict[str, Any] = ask(state, {"cmd": "status"})["snapshot"]
            if shot["ready"]:
                return shot
        except (Unavailable, FileNotFoundError):
            pass
        assert time.monotonic() < deadline, "the daemon did not become ready"
        time.sleep(0.1)  # another process starts


def test_paper_trading_fills_protects_and_survives_a_restart(sim: Sim, model_store: Path, tmp_path: Path) -> None:
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    settings.write_text(json.dumps(settings_json(sim, state, model_store, mode="paper")))
    process = start(settings)
    wait_for_orders(state, 9)
    assert stop(process) == 0
    fills = records(state, Filled)
    assert len(fills) >= 8
    assert all(f.fee < 0 for f in fills)
    assert any(s.status == "live" for s in records(state, StopUpdated))
    before = PaperState.decode((state / "paper.json").read_bytes(), "paper.json")

    orders = count_orders(state)
    process = start(settings)
    wait_for_orders(state, orders + 2)
    assert stop(process) == 0
    after = PaperState.decode((state / "paper.json").read_bytes(), "paper.json")
    assert before.venue != after.venue
    again = {f.trade_id: f for f in records(state, Filled)}  # a restart asks for the latest ones once more
    assert list(again)[: len(fills)] == [f.trade_id for f in fills]
    assert len(again) > len(fills)
    paid = sum((f.realised + f.fee for f in again.values()), Decimal(0))
    cash = after.venue.cash
    assert abs(Decimal(10_000) + paid - cash) < Decimal("1e-6")


def test_on_the_wall_clock_the_bot_runs_answers_and_leaves_in_order(
    free_sim: Sim, model_store: Path, tmp_path: Path
) -> None:
    """At thirty times real time the exchange's clock runs away from ours: entries must be blocked for that reason."""
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    exchange = settings_json(free_sim, state, model_store)["exchange"]
    assert isinstance(exchange, dict)
    changes = {"mode": "paper", "exchange": {**exchange, "clock": "wall"}}
    settings.write_text(json.dumps(settings_json(free_sim, state, model_store, **changes)))
    process = start(settings)
    try:
        shot = status(state)
        assert shot["symbols"][0]["symbol"] == SYMBOL
        presently(lambda: any(d.action.startswith("enter") for d in records(state, Decision)), 60)
        found = [d for d in records(state, Decision) if d.action.startswith("enter")]
        presently(lambda: status(state)["symbols"][0]["feed_ok"])  # a busy machine is behind now and then
    finally:
        assert stop(process) == 0
    assert found[0].model_sha256


def test_a_running_bot_is_halted_and_resumed_from_the_command_line(sim: Sim, model_store: Path, tmp_path: Path) -> None:
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    settings.write_text(json.dumps(settings_json(sim, state, model_store)))
    process = start(settings)
    try:
        wait_for_orders(state, 0)
        for command, expected in (("halt", "halted"), ("resume", "active"), ("pause", "reducing")):
            done = cli(tmp_path, command, "--state", str(state))
            assert done.returncode == 0, done.stderr
            assert status(state)["tradability"] == expected
        assert cli(tmp_path, "pause", "--symbol", "NOPEUSDT", "--state", str(state)).returncode == 2
        (state / "HALT").touch()
        presently(lambda: status(state)["tradability"] == "halted", 30)
        held = cli(tmp_path, "resume", "--state", str(state))
        assert (held.returncode, "remove it" in held.stderr) == (2, True)
        (state / "HALT").unlink()
        assert cli(tmp_path, "resume", "--state", str(state)).returncode == 0
        assert status(state)["tradability"] == "active"
        process.send_signal(signal.SIGUSR1)
        presently(lambda: status(state)["halt_reason"] == "signal: SIGUSR1", 30)
    finally:
        assert stop(process) == 0


def cli(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradebot", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def config(folder: Path, sim: Sim, **changes: object) -> Path:
    path = folder / "config.yaml"
    tree = {
        "symbols": [SYMBOL],
        "state_dir": "state",
        "exchange": {
            "rest_url": sim.rest,
            "public_ws": f"{sim.ws}/v2/ws/public",
            "demo_public_ws": f"{sim.ws}/v2/ws/public",
            "demo_private_ws": f"{sim.ws}/v2/ws/private",
        },
        **changes,
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("tradebot: ")
    for word in words:
        assert word in last


def test_an_unknown_symbol_is_a_configuration_error(sim: Sim, tmp_path: Path) -> None:
    config(tmp_path, sim, symbols=["NOPEUSDT"])
    refused(cli(tmp_path, "run", "--paper"), 78, "NOPEUSDT", "SOLUSDT")


def test_an_exchange_that_does_not_answer_is_unavailable(sim: Sim, tmp_path: Path) -> None:
    path = config(tmp_path, sim)
    path.write_text(path.read_text().replace(sim.rest, "http://127.0.0.1:9"))
    refused(cli(tmp_path, "run", "--paper"), 69, "127.0.0.1:9")


def test_a_wrong_key_is_refused_and_not_retried(sim: Sim, tmp_path: Path) -> None:
    config(tmp_path, sim)
    key = {"TRADEBOT_EXCHANGE__KEY": "no", "TRADEBOT_EXCHANGE__SECRET": "way", "TRADEBOT_EXCHANGE__PASSPHRASE": "in"}
    refused(cli(tmp_path, "run", "--exchange-demo", **key), 77)


def test_two_daemons_cannot_own_one_state(sim: Sim, model_store: Path, tmp_path: Path) -> None:
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    settings.write_text(json.dumps(settings_json(sim, state, model_store)))
    process = start(settings)
    try:
        wait_for_orders(state, 0)
        config(tmp_path, sim)
        refused(cli(tmp_path, "run", "--paper"), 75, "in use")
    finally:
        assert stop(process) == 0


def test_live_trading_does_not_start_without_key_config_and_confirmation(sim: Sim, tmp_path: Path) -> None:
    config(tmp_path, sim)
    refused(cli(tmp_path, "run", "--live"), 78, "mode: live")
    config(tmp_path, sim, mode="live", exchange={})
    refused(cli(tmp_path, "run"), 78, "--live")
    refused(cli(tmp_path, "run", "--live"), 78, "key")
    key = {"TRADEBOT_EXCHANGE__KEY": "abcd", "TRADEBOT_EXCHANGE__SECRET": "efgh", "TRADEBOT_EXCHANGE__PASSPHRASE": "x"}
    refused(cli(tmp_path, "run", "--live", **key), 2, "terminal")


def test_the_daemon_imports_nothing_that_trains() -> None:
    code = (
        "import sys, tradebot.daemon.run, tradebot.daemon.demo; "
        "found = {'torch', 'lightgbm', 'optuna', 'pandas', 'ccxt'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["threshold"])
def test_shipped_strategies_load(name: str) -> None:
    from tradebot.trading.loading import load_strategy

    folder = Path(__file__).resolve().parents[2] / "strategies"
    assert load_strategy(folder, name)[0].__name__.lower() == name

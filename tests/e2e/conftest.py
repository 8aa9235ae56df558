"""An embedded exchange as a process, and a model trained on its market, shared by the end-to-end tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tradebot.jobs import ParquetSource, RestSource, RetrainJob
from tradebot.training.runner import run_job

SYMBOL = "SOLUSDT"
STRATEGIES = Path(__file__).parent / "strategies"


@dataclass(frozen=True)
class Sim:
    """A running embedded exchange."""

    rest: str
    ws: str
    process: subprocess.Popen[str]


@pytest.fixture
def sim() -> Iterator[Sim]:
    yield from _sim("--hold", "--speed", "max", "--for", "3d", "--history-days", "30", "--seed", "5")


@pytest.fixture
def free_sim() -> Iterator[Sim]:
    """One that runs by itself, at thirty times real time."""
    yield from _sim("--speed", "30", "--for", "3d", "--history-days", "30", "--seed", "5")


def _sim(*arguments: str) -> Iterator[Sim]:
    process = subprocess.Popen([sys.executable, "-m", "tradebot", "sim", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    urls = json.loads(process.stdout.readline())
    try:
        yield Sim(urls["rest"], urls["ws"], process)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one provisional model of the generated market."""
    store = tmp_path_factory.mktemp("store")
    for running in _sim("--hold", "--speed", "max", "--for", "3d", "--history-days", "30", "--seed", "5"):
        source: RestSource | ParquetSource = RestSource(url=running.rest)
        result = run_job(
            RetrainJob(
                id="first", symbol=SYMBOL, model="lightgbm", as_of_ms=1_767_571_200_000, declared_ms=0, days=30,
                source=source, store=str(store), trials=1, rounds=20, threads=1, allow_provisional=True,
            ),
            lambda progress: None,
        )  # fmt: skip
        assert result.promoted, result.reason
    return store


def settings_json(sim: Sim, state: Path, store: Path, **changes: object) -> dict[str, object]:
    """Settings of a daemon that trades at every candle on ``sim``."""
    return {
        "mode": "demo",
        "symbols": [SYMBOL],
        "state_dir": str(state),
        "model_store": str(store),
        "strategies_dir": str(STRATEGIES),
        "strategy": {"name": "restless"},
        "risk": {"cooldown": "0s", "max_daily_loss": "0.5", "max_losses_in_a_row": None},
        "exchange": {
            "rest_url": sim.rest,
            "public_ws": f"{sim.ws}/v2/ws/public",
            "private_ws": f"{sim.ws}/v2/ws/private",
            "clock": "paced",
            "rate_limited": False,
        },
        "retrain": {"enabled": False},
        **changes,
    }

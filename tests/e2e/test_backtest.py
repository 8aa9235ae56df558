"""Parity: the same market through ``demo`` (real process, real sockets) and through ``backtest`` (neither)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.backtest.difference import first_difference, journaled
from tests.backtest.market import random_walk
from tests.backtest.runs import Records
from tests.eventually import Work
from tests.shared import shared_path
from tradebot.backtest.run import ModelUsed, RunFolder
from tradebot.backtest.served import ServedBefore
from tradebot.backtest.single import Spec, run_backtest
from tradebot.daemon.demo.run import REPLAY_PARAMS, STRATEGY
from tradebot.events import Booted, Decision, Filled, ModelSwapped
from tradebot.settings import strategies_folder

ELSEWHERE = ("replay", "gate", "events", "book_updates")
"""What the two may say differently: a back-test has no journal to compute again, its jobs read candles from a file, and
it leaves out books that can change nothing."""


def tradebot(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tradebot", *arguments, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, errors = Work(process).result()
    assert process.returncode == 0, errors[-2_000:]
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def said(result: dict[str, Any]) -> dict[str, Any]:
    verdicts = [{name: one[name] for name in ("version", "verdict", "reason")} for one in result["gate"]]
    return {name: value for name, value in result.items() if name not in ELSEWHERE} | {"verdicts": verdicts}


def test_candles_are_decided_on_alike_with_their_models_trained_anew(tmp_path: Path) -> None:
    file = str(random_walk(tmp_path / "market", days=45, seed=11, reverting=0.4, lively=True))
    demo = tradebot("demo", "--replay", file, "--for", "14h", "--state", str(tmp_path / "state"))
    backtest = tradebot("backtest", "--data", file, "--for", "14h", "--out", str(tmp_path / "run"))
    assert demo["orders"] > 2
    assert demo["retrains"] == 1
    assert said(backtest) == said(demo)
    assert backtest["book_updates"] < demo["book_updates"]
    decisions = [r for kind, _, r in journaled(tmp_path / "state") if isinstance(r, Decision)]
    kept = [key for part in RunFolder(tmp_path / "run").decisions(("decision_id",)) for key in part["decision_id"]]
    assert kept == [decision.decision_id for decision in decisions]


def test_a_tape_of_books_gives_the_same_record_after_record(tmp_path: Path) -> None:
    books = shared_path("data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet")
    candles = shared_path("data/market/candles/bybit_BTCUSDT_perp_5m.parquet")
    state = tmp_path / "state"
    demo = tradebot("demo", "--replay", str(books), str(candles), "--for", "90m", "--state", str(state))
    lines = list(journaled(state))
    booted = next(record for _, _, record in lines if isinstance(record, Booted))
    swaps = [(ts_ms, record.ref) for _, ts_ms, record in lines if isinstance(record, ModelSwapped)]
    models = [
        ModelUsed(symbol=ref.symbol, name=ref.name, version=ref.version, sha256=ref.sha256, since_ms=ts_ms)
        for ts_ms, ref in swaps
    ]
    spec = Spec(
        config=booted.config,
        strategies_dir=strategies_folder(Path("strategies").absolute(), STRATEGY),
        data=(str(books), str(candles)),
        for_ms=90 * 60_000,
        every_row=True,
    )
    assert booted.config.strategy_params == REPLAY_PARAMS
    served, seen, sparse = ServedBefore(state / "model_store", models, ""), Records(), Records()
    outcome = run_backtest(spec, training=served, log=seen)
    assert outcome is not None
    assert first_difference(lines, seen.lines) == ""
    assert outcome.result["decisions_sha256"] == demo["decisions_sha256"]
    rested = run_backtest(
        Spec(**{name: getattr(spec, name) for name in spec.__dataclass_fields__} | {"every_row": False}),
        training=served.again(),
        log=sparse,
    )
    assert rested is not None
    assert rested.result["decisions_sha256"] == demo["decisions_sha256"]
    assert sparse.fills == [record for kind, _, record in lines if isinstance(record, Filled)]

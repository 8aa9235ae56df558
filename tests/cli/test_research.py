"""``walkforward``, ``optimise`` and ``strategy check`` as commands, on a small made-up market."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.backtest.market import STRATEGIES, random_walk
from tests.cli.conftest import Tradebot
from tradebot.cli.research import Research
from tradebot.cli.training_options import settings_overrides
from tradebot.daemon.retraining import RetrainPlan

DRIFT = ("--strategies", str(STRATEGIES), "--param", "fade=true", "entry_bp=40")


@pytest.fixture
def market(home: Path) -> Path:
    return random_walk(home / "market", days=10, reverting=0.5)


def test_a_walk_forward_leaves_a_run_that_can_be_compared(tradebot: Tradebot, home: Path, market: Path) -> None:
    asked = ("walkforward", "--data", str(market), "--strategy", "drift", *DRIFT, "--train", "9d", "--test", "12h")
    done = tradebot(*asked, "--out", "walk", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["windows"] == 2
    assert "buy and hold" in done.err
    assert (home / "walk" / "run" / "report.html").exists()
    again = tradebot(*asked, "--out", "walk", "--json")
    assert json.loads(again.out) == result
    assert "window 1/2" not in again.err  # nothing is done twice
    other = tradebot(*asked, "--out", "walk", "--seed", "8")
    assert (other.code, other.err.count("\n")) == (78, 1)
    assert "work of another command" in other.err
    assert tradebot("compare", "walk/run", "walk/windows").code == 65
    assert tradebot("compare", "walk/run", "walk/run").code == 0


def test_a_check_says_what_is_sound_and_fails_what_is_not(tradebot: Tradebot, market: Path) -> None:
    asked = ("--data", str(market), "--strategies", str(STRATEGIES), "--for", "5h", "--cuts", "1", "--starts", "1")
    sound = tradebot("strategy", "check", "drift", *asked)
    assert sound.code == 0, sound.err
    assert sound.out.splitlines()[-1] == "sound"
    unsound = tradebot("strategy", "check", "counter", *asked, "--json")
    assert unsound.code == 1
    found = json.loads(unsound.out)
    assert found["look_ahead"][0]["parting"] is None
    assert found["recursion"][0]["settled_ms"] is None


def test_a_back_test_trades_as_the_configured_bot_does(tradebot: Tradebot, home: Path, market: Path) -> None:
    (home / "bot.yaml").write_text(
        f"""
        strategies_dir: {STRATEGIES}
        strategy: {{name: pendulum, params: {{move_bp: 15}}}}
        trading: {{order_notional: 120, leverage: 3}}
        risk: {{max_position_notional: 130, stop_distance: 0.05}}
        """.replace("\n        ", "\n")
    )
    asked = ("backtest", "--data", str(market), "--for", "6h", "--no-model", "--config", "bot.yaml", "--json")
    done = tradebot(*asked, "--out", "a")
    assert done.code == 0, done.err
    assert json.loads(done.out)["orders"] > 0
    decisions = pd.read_parquet(home / "a" / "decisions.parquet")
    entered = decisions[(decisions.action != "exit") & (decisions.qty.astype(float) > 0)]
    notional = entered.qty.astype(float) * entered.ask
    assert ((notional > 100) & (notional <= 120.5)).all()
    quiet = tradebot(*asked, "--param", "move_bp=1000")
    assert json.loads(quiet.out)["orders"] == 0
    (home / "bot.yaml").write_text("risk: {max_levrage: 3}")
    wrong = tradebot(*asked)
    assert (wrong.code, wrong.err.count("\n")) == (78, 1)
    assert "did you mean 'max_leverage'" in wrong.err


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("optimise", "--out", "o", "--search", "hold=1:3", "--for", "4d", "--test", "4d"), 2, "must be shorter"),
        (("optimise", "--out", "o", "--search", "hold=1:3", "--for", "4d", "--test", "2d"), 2, "less than 3 days"),
        (("optimise", "--out", "o", "--search", "hold"), 2, "NAME=LOW:HIGH"),
        (("walkforward", "--out", "o", "--train", "36h"), 2, "whole days"),
        (("walkforward", "--out", "o", "--test", "soon"), 2, "--test"),
        (("walkforward", "--out", "o", "--data", "nothing.parquet"), 65, "no such file"),
        (("strategy", "check", "nobody"), 78, "nobody"),
        (
            ("walkforward", "--out", "o", "--set", "horizont=3"),
            2,
            "lightgbm has no option 'horizont'; it has: horizon,",
        ),
        (("walkforward", "--out", "o", "--epochs", "3"), 2, "say --rounds instead of --epochs"),
        (("backtest", "--out", "o", "--batch-size", "3"), 2, "lightgbm has no --batch-size"),
        (("backtest", "--out", "o", "--lr", "7"), 2, "--lr"),
        (("backtest", "--model-store", "nope"), 65, "--model-store nope: no such directory"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    tradebot: Tradebot, home: Path, words: tuple[str, ...], code: int, what: str
) -> None:
    done = tradebot(*words)
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert what in done.err
    assert not (home / "o").exists()


def test_where_nothing_is_trained_a_made_up_market_is_told_without_a_training(tradebot: Tradebot) -> None:
    asked = ("backtest", "--for", "1h", "--no-model", "--steady")
    done = tradebot(*asked, "--json")
    assert (done.code, json.loads(done.out)["source"]) == (0, "MADE-UP market, seed 7: signal planted")
    recorded = tradebot(*asked, "--data", ".")
    assert (recorded.code, recorded.err) == (2, "tradebot: --steady is for generated markets: leave out --data\n")


def test_a_back_test_says_of_its_strategy_what_is_true(tradebot: Tradebot, home: Path, market: Path) -> None:
    tradebot("strategy", "new", "my_idea", "--dir", "mine")
    words = ("backtest", "--data", str(market), "--strategy", "my_idea", "--strategies", "mine", "--no-model", "--json")
    done = tradebot(*words, "--for", "6h")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["source"] == f"recorded: {market.name}"


def test_a_file_too_short_to_walk_on_is_one_line(tradebot: Tradebot, home: Path, market: Path) -> None:
    done = tradebot("walkforward", "--data", str(market), "--strategy", "drift", *DRIFT, "--out", "o")
    assert done.code == 65
    assert "too few for a walk-forward" in done.err
    assert not (home / "o").exists()  # which the command put right may have


@pytest.mark.parametrize("command", ["backtest", "walkforward"])
def test_a_wrong_parameter_is_told_before_anything_is_trained(
    tradebot: Tradebot, home: Path, market: Path, command: str
) -> None:
    """Of many symbols a training takes hours; a mistyped word must not cost them."""
    done = tradebot(command, "--data", str(market), "--param", "nonsense=1", "--out", "o")
    assert (done.code, done.err.count("\n")) == (78, 1), done.err
    assert "strategy.params.nonsense" in done.err
    assert not (home / "o").exists()


def test_the_trainings_of_a_walk_are_as_asked_for(tmp_path: Path) -> None:
    given = settings_overrides(test_size=0.2, lr=0.07, threads=2)
    research = Research(
        tmp_path / "o", data=[], symbols=[], seed=7, strategy=None, params={}, strategies=None, config=None,
        generated_ms=0, train_days=30, trials=3, rounds=50, training=given, options=["horizon=3", "num_leaves=9"],
    )  # fmt: skip
    job = RetrainPlan.of(research.settings).job("ANY", 0)
    assert (job.trials, job.rounds, job.days) == (3, 50, 30)
    assert (job.test_share, job.lr, job.threads) == (0.2, 0.07, 2)
    assert job.options == {"horizon": "3", "num_leaves": "9"}
    assert research.label_ms() == 3 * 300_000


def test_what_changes_nothing_is_told(tradebot: Tradebot, market: Path) -> None:
    asked = ("backtest", "--data", str(market), "--strategy", "drift", *DRIFT, "--no-model", "--json")
    day = tradebot(*asked, "--days", "1", "--trials", "2", "--set", "horizon=3")
    assert day.code == 0, day.err
    assert "nothing is trained with --model-store or --no-model: --trials, --set change nothing" in day.err
    assert json.loads(day.out) == json.loads(tradebot(*asked, "--for", "24h").out)

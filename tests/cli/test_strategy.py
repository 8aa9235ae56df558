"""`tradebot strategy`: a new one to begin with, and what there is."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tradebot.events import EngineConfig
from tradebot.settings.layers import shipped_strategies
from tradebot.trading.loading import load_strategy, strategy_names
from tradebot.trading.strategy import configure


def test_a_new_strategy_loads_and_its_test_passes_as_it_was_written(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("strategy", "new", "my_idea")
    assert done.code == 0
    assert [said.split(":")[0] for said in done.out.splitlines()] == [
        "strategies/my_idea.py",
        "strategies/tests/test_my_idea.py",
    ]
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "strategies/tests/test_my_idea.py"],
        cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout
    assert "9 passed" in tests.stdout
    cls, _ = load_strategy(home / "strategies", "my_idea")
    assert cls.__name__ == "MyIdea"
    configure(cls, EngineConfig(mode="paper", symbols=("SOLUSDT",), strategy="my_idea"))


def test_the_test_of_a_new_strategy_can_fail(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "my_idea")
    path = home / "strategies" / "my_idea.py"
    path.write_text(path.read_text().replace("worth < self.params.margin_bp", "worth > self.params.margin_bp"))
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "strategies/tests/test_my_idea.py"],
        cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tests.returncode == 1


def test_a_new_strategy_and_its_test_are_formatted_and_typed(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "x2_y", "--dir", "mine")
    files = [home / "mine" / "x2_y.py", home / "mine" / "tests" / "test_x2_y.py"]
    for command in (["ruff", "check", "--isolated", "--select", "E,F,W,B,UP,SIM,RUF", "--line-length", "120"],
                    ["ruff", "format", "--isolated", "--check", "--line-length", "120"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", *command, *map(str, files)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
    for path in files:
        functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
        assert all(f.returns is not None for f in functions)


def test_nothing_is_overwritten(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "my_idea")
    (home / "strategies" / "my_idea.py").write_text("precious\n")
    (home / "strategies" / "tests" / "test_my_idea.py").unlink()
    done = tradebot("strategy", "new", "my_idea")
    assert (done.code, done.out) == (2, "")
    assert "strategies/my_idea.py: there already" in done.err
    assert (home / "strategies" / "my_idea.py").read_text() == "precious\n"
    assert not (home / "strategies" / "tests" / "test_my_idea.py").exists()


@pytest.mark.parametrize("name", ["MyIdea", "my-idea", "1st", "_mine", "test_mine", "class", "../up", "", "größe"])
def test_a_name_that_no_file_of_a_strategy_can_have_is_refused(tradebot: Tradebot, home: Path, name: str) -> None:
    done = tradebot("strategy", "new", name)
    assert (done.code, done.out) == (2, "")
    assert "cannot name a strategy" in done.err
    assert not (home / "strategies").exists()


def test_the_list_tells_parameters_defaults_and_meanings(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "my_idea")
    text = tradebot("strategy", "list", "--dir", "strategies")
    assert text.code == 0
    assert "my_idea  Enters when the forecast is worth more than it costs" in text.out
    assert "margin_bp  2.0      how far the expected return must exceed the cost of a trade, bp." in text.out
    (row,) = [
        json.loads(said) for said in tradebot("strategy", "list", "--dir", "strategies", "--json").out.splitlines()
    ]
    assert row["hooks"] == ["on_candle", "on_forecast"]
    assert row["parameters"][1] == {
        "name": "stop_bp",
        "default": 100.0,
        "required": False,
        "meaning": "distance of the protective stop, bp; risk.stop_distance where that is closer.",
    }
    assert row["file"] == "strategies/my_idea.py"


def test_every_shipped_strategy_is_listed_with_a_summary(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("strategy", "list", "--json")
    rows = [json.loads(said) for said in done.out.splitlines()]
    assert [row["name"] for row in rows] == strategy_names(shipped_strategies())
    assert "threshold" in [row["name"] for row in rows]
    assert all(row["summary"] and row["hooks"] for row in rows)


def test_a_new_strategy_is_listed_with_those_of_tradebot(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "my_idea")
    (home / "strategies" / "carry.py").write_bytes((shipped_strategies() / "carry.py").read_bytes())
    for _ in range(2):
        rows = {row["name"]: row for row in map(json.loads, tradebot("strategy", "list", "--json").out.splitlines())}
        assert set(rows) == {*strategy_names(shipped_strategies()), "my_idea"}
        assert rows["my_idea"]["file"] == str(home / "strategies" / "my_idea.py")
        assert rows["carry"]["file"] == str(home / "strategies" / "carry.py")  # one's own is the one that is used
        assert rows["threshold"]["file"] == str(shipped_strategies() / "threshold.py")
        assert tradebot("config", "init").code == 0 or (home / "config.yaml").exists()


def test_the_name_of_a_shipped_strategy_is_refused(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("strategy", "new", "threshold")
    assert (done.code, done.out) == (2, "")
    assert "threshold: comes with tradebot" in done.err
    assert not (home / "strategies").exists()


def test_a_broken_strategy_is_told_by_line_and_the_others_are_listed(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "good")
    (home / "strategies" / "bad.py").write_text("import os\n")
    done = tradebot("strategy", "list", "--dir", "strategies", "--json")
    rows = {row["name"]: row for row in map(json.loads, done.out.splitlines())}
    assert done.code == 78
    assert "strategies/bad.py:1: a strategy may not import os" in rows["bad"]["problem"]
    assert rows["good"]["parameters"]
    assert done.err.splitlines() == [f"tradebot: {rows['bad']['problem']}"]


def test_an_empty_folder_says_what_to_do(tradebot: Tradebot, home: Path) -> None:
    (home / "none").mkdir()
    done = tradebot("strategy", "list", "--dir", "none")
    assert (done.code, done.out) == (78, "")
    assert "tradebot strategy new NAME --dir none" in done.err


def test_the_configured_strategy_is_looked_into_by_config_check(tradebot: Tradebot, home: Path) -> None:
    tradebot("strategy", "new", "my_idea")
    (home / "config.yaml").write_text("strategy:\n  name: my_idea\n  params:\n    margin_bp: -3\n")
    done = tradebot("config", "check")
    assert done.code == 78
    assert "strategy.params.margin_bp: Expected" in done.err
    (home / "config.yaml").write_text("strategy:\n  name: my_idea\n  models: [lightgbm, bilstm]\n  max_hook: 50ms\n")
    assert tradebot("config", "check").code == 0

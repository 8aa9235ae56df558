"""docs/strategies.md says what the code does, and its example works."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.strategies.world import Planted, World
from tests.trading.driver import STRATEGIES
from tradebot.cli import strategy_table
from tradebot.trading import indicators, sizing
from tradebot.trading.loading import load_strategy, strategy_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "strategies.md"


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert strategy_table.renewed(page) == page, "run: python -m tradebot.cli.strategy_table docs/strategies.md"


def test_every_parameter_says_what_it_means() -> None:
    assert "|  |\n" not in PAGE.read_text()


def test_a_page_without_a_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks around the table of strategy carry"):
        strategy_table.renewed("no marks at all")


def test_the_parameters_shown_are_taken() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
    assert len(shown) == 2
    for text in shown:
        World("threshold", yaml.safe_load(text)["strategy"]["params"])


def test_the_example_trades_in_calm_markets(tmp_path: Path) -> None:
    [source] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "calm.py").write_text(source)
    world = World("calm", {"most": 1e6}, folder=tmp_path)
    assert [world.close(100.0, Planted(9.0)).action for _ in range(3)] == ["enter_long", "hold", "exit"]
    assert world.close(100.0, Planted(-9.0)).action == "enter_short"
    assert World("calm", {"most": 1e-6}, folder=tmp_path).close(100.0, Planted(9.0)).action == "hold"


@pytest.mark.parametrize("module", [sizing, indicators, strategy_table])
def test_docstrings_are_right(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)


def test_the_docstrings_of_strategies_are_right() -> None:
    loaded = [sys.modules[load_strategy(STRATEGIES, name)[0].__module__] for name in strategy_names(STRATEGIES)]
    results = [doctest.testmod(module) for module in loaded]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 0

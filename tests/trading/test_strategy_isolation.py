"""A strategy that fails harms nothing but itself, and the failure is recorded, told, and found again by a replay."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trading.driver import Driver, decision, of, only
from tradebot.errors import ConfigError
from tradebot.events import (
    AccountHeard,
    Alert,
    BookSampled,
    CancelOrder,
    Command,
    Decision,
    OperatorActed,
    PlaceOrder,
    PlaceStop,
    StrategyStalled,
    TimerFired,
    TradabilityChanged,
)
from tradebot.market.instrument import exact
from tradebot.trading.engine import Engine
from tradebot.trading.hooks import Stuck
from tradebot.trading.loading import load_strategy
from tradebot.trading.strategy import Intent, Strategy, View


def written(folder: Path, body: str, name: str = "mine") -> type[Strategy]:
    """The strategy of a file whose first line is the import and whose ``on_candle`` ends with ``body``."""
    head = "from tradebot.trading.strategy import Intent, Strategy\n\n\nclass Mine(Strategy):\n"
    hook = "    def on_candle(self, view):\n" + textwrap.indent(textwrap.dedent(body), " " * 8)
    (folder / f"{name}.py").write_text(head + hook)
    return load_strategy(folder, name)[0]


def row(d: Driver) -> Sequence[Command]:
    d.now_ms += 1_000
    return d.send(
        BookSampled(
            symbol="SOLUSDT", boundary_ms=d.now_ms, age_ms=10, bid_px=(99.99,), bid_sz=(9.0,), ask_px=(100.01,),
            ask_sz=(9.0,),
        )
    )  # fmt: skip


NONSENSE = {
    "return 'buy'": "returned 'buy', not an Intent",
    "return object()": "returned <object object>, not an Intent",
    "return Intent('buy', 'x')": "wants action 'buy'; it must be one of enter_long",
    "return Intent(None, 'x')": "wants action None",
    "return Intent('enter_long', 'x', size=-1.0)": r"wants size -1.0; it must lie in \(0, 1\]",
    "return Intent('enter_long', 'x', size=0)": "wants size 0",
    "return Intent('enter_long', 'x', size=1.5)": "wants size 1.5",
    "return Intent('enter_long', 'x', size=float('nan'))": "wants size nan",
    "return Intent('enter_long', 'x', size=True)": "wants size True",
    "return Intent('enter_long', 'x', size='big')": "wants size 'big'",
    "return Intent('enter_long', 'x', order='iceberg')": "wants order 'iceberg'",
    "return Intent('enter_long', 'x', fallback='pray')": "wants fallback 'pray'",
    "return Intent('enter_long', 'x', offset_ticks=-1)": "wants offset_ticks -1",
    "return Intent('enter_long', 'x', offset_ticks=1.5)": "wants offset_ticks 1.5",
    "return Intent('enter_long', 'x', wait_ms=0)": "wants wait_ms 0",
    "return Intent('enter_long', 'x', stop_bp=-5.0)": "wants stop_bp -5.0",
    "return Intent('enter_long', 'x', stop_bp=float('inf'))": "wants stop_bp inf",
    "return Intent('enter_long', 'x', take_profit_bp=0.0)": "wants take_profit_bp 0.0",
    "return Intent('enter_long', 'x', take_profit_bp=20_000)": "wants take_profit_bp 20000",
    "return Intent('hold', 'x', timer=('', 5))": "wants timer",
    "return Intent('hold', 'x', timer=('a', -5))": "wants timer",
    "return Intent('hold', 'x', timer='a')": "wants timer 'a'",
    "return Intent('hold', None)": "gives as reason None",
    "return Intent('hold', 'two\\nlines')": "gives as reason",
    "return Intent('hold', '\\ud800')": "gives as reason",
    "return Intent('hold', 'x' * 5000)": "gives as reason",
    "view.row('moon_phase')": "raised LookupError: there is no feature 'moon_phase'",
    "view.market.candles.close[0]": "raised AttributeError: 'NoneType' object has no attribute 'close'",
    "view.forecasts['deep']": "raised KeyError: 'deep'",
    "view.market.bid = 1.0": "raised AttributeError: immutable type: 'Market'",
    "1 / 0": "raised ZeroDivisionError: division by zero",
    "raise SystemExit(3)": "raised SystemExit: 3",
    "raise GeneratorExit": "raised GeneratorExit",
    "self.on_candle(view)": "raised RecursionError: maximum recursion depth exceeded",
}


@pytest.mark.parametrize(("body", "told"), NONSENSE.items())
def test_whatever_is_wrong_pauses_the_strategy_and_names_file_and_line(tmp_path: Path, body: str, told: str) -> None:
    d = Driver(written(tmp_path, body), params={}, bars=1)
    commands = d.candle()
    assert of(commands, PlaceOrder) == []
    alert = only(commands, Alert)
    assert (alert.severity, alert.code) == ("critical", "strategy_failed")
    line = 5 if "raised" not in told else 6
    assert alert.message.startswith("strategy threshold: on_candle ")
    assert alert.message.rstrip(")").endswith(f"(mine.py:{line}")
    assert re.search(told, alert.message)
    assert only(commands, TradabilityChanged).state == "reducing"
    made = decision(commands)
    assert (made.action, made.reason) == ("hold", alert.message)


def test_the_bot_goes_on_positions_stay_protected_and_candles_are_decided(tmp_path: Path) -> None:
    body = "if view.holding.side == 'long':\n    1 / 0\nreturn Intent('enter_long', 'go')"
    d = Driver(written(tmp_path, body), params={}, bars=1)
    order = only(d.candle(), PlaceOrder)
    stop = only(d.fill(order, "100.01"), PlaceStop)
    d.candle()
    assert d.engine.decisions.strategy is None
    for _ in range(3):
        made = decision(d.candle())
        assert (made.action, made.reason) == ("hold", "strategy disabled")
    assert d.engine.state.portfolio.position("SOLUSDT").qty == order.qty
    assert d.engine.state.stops["SOLUSDT"].client_oid == stop.client_oid
    closed = d.send(OperatorActed(action="close", actor="cli", symbol="SOLUSDT"))
    assert only(closed, PlaceOrder).reduce_only


def test_other_symbols_are_not_asked_by_a_strategy_that_failed_for_one(tmp_path: Path) -> None:
    d = Driver(written(tmp_path, "1 / 0"), params={}, bars=1, symbols=("SOLUSDT", "BTCUSDT"))
    d.candle()
    assert d.engine.decisions.strategy is None
    assert d.engine.state.tradability == "reducing"


def test_an_entry_that_rests_is_withdrawn_when_its_strategy_fails(tmp_path: Path) -> None:
    d = Driver(written(tmp_path, "1 / 0"), params={}, bars=1)
    strategy = d.engine.decisions.strategy
    strategy.on_candle = lambda view: Intent("enter_long", "go", order="maker")  # type: ignore[union-attr, method-assign]
    order = only(d.candle(), PlaceOrder)
    del strategy.on_candle  # type: ignore[union-attr]
    assert only(d.candle(), CancelOrder).client_oid == order.client_oid


@pytest.mark.parametrize("hook", ["on_book", "on_fill", "on_disconnect", "on_timer"])
def test_every_hook_is_guarded(hook: str) -> None:
    def fails(self: Any, view: View, *about: object) -> Intent:
        raise RuntimeError("out of order")

    cls = type("Fails", (Strategy,), {hook: fails, "on_candle": lambda self, view: Intent("enter_long", "go")})
    d = Driver(cls, params={}, bars=1)
    order = only(d.candle(), PlaceOrder)
    moments: dict[str, Any] = {
        "on_book": lambda: row(d),
        "on_fill": lambda: d.fill(order, "100.01"),
        "on_disconnect": lambda: d.send(AccountHeard(up=False)),
        "on_timer": lambda: d.send(TimerFired(name="strategy:SOLUSDT:x", due_ms=1)),
    }
    commands = moments[hook]()
    assert f"{hook} raised RuntimeError: out of order (test_strategy_isolation.py:" in only(commands, Alert).message
    assert decision(commands).hook == hook


def test_resuming_begins_with_a_fresh_instance(tmp_path: Path) -> None:
    body = "self.asked = getattr(self, 'asked', 0) + 1\nreturn Intent('hold', f'{1 / (2 - self.asked):g}')"
    d = Driver(written(tmp_path, body), params={}, bars=1)
    assert decision(d.candle()).reason == "1"
    assert "division by zero" in decision(d.candle()).reason
    d.send(OperatorActed(action="resume", actor="cli", symbol="SOLUSDT"))
    assert decision(d.candle()).reason == "strategy disabled"
    d.send(OperatorActed(action="resume", actor="cli"))
    assert d.engine.state.tradability == "active"
    assert decision(d.candle()).reason == "1"


def test_a_restart_asks_again_and_entries_stay_stopped_until_somebody_resumes(tmp_path: Path) -> None:
    failing = written(tmp_path, "1 / 0")
    d = Driver(failing, params={}, bars=1)
    d.candle()
    mended = written(tmp_path, "return Intent('enter_long', 'go')")
    restarted = Driver(mended, params={}, bars=1, state=d.engine.state.snapshot())
    commands = restarted.candle()
    assert of(commands, PlaceOrder) == []
    assert [c.name for c in decision(commands).checks if c.verdict == "block"] == ["tradability"]


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    class Numpy(Strategy):
        def on_candle(self, view: View) -> Intent:
            return Intent(
                "enter_long", "go", size=np.float32(0.5), order="maker", offset_ticks=np.int64(1),
                wait_ms=np.int32(9), stop_bp=np.float64(50.0),
            )  # type: ignore[arg-type]  # fmt: skip

    order = only(Driver(Numpy, params={}, bars=1).candle(), PlaceOrder)
    assert order.qty == exact("2.5")
    assert order.preset_stop == exact("99.49")


def test_a_failure_is_the_same_in_every_process(tmp_path: Path) -> None:
    cls = written(tmp_path, "raise ValueError(object())")
    told = only(Driver(cls, params={}, bars=1).candle(), Alert).message
    assert "ValueError: <object object> (mine.py:6)" in told


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Odd(BaseException):
    pass


@pytest.mark.parametrize("error", [Mute(), Odd("x")])
def test_whatever_is_raised_pauses_the_strategy_alone(error: BaseException) -> None:
    class Failing(Strategy):
        def on_candle(self, view: View) -> Intent:
            raise error

    commands = Driver(Failing, params={}, bars=1).candle()
    assert type(error).__name__ in only(commands, Alert).message
    assert decision(commands).action == "hold"


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_hook_that_took_too_long_pauses_the_strategy_by_an_event(tmp_path: Path) -> None:
    d = Driver(written(tmp_path, "return Intent('enter_long', 'go')"), params={}, bars=1)
    d.candle()
    event = StrategyStalled(hook="on_candle", symbol="SOLUSDT", took_ms=900, limit_ms=500)
    commands = d.send(event)
    alert = only(commands, Alert)
    assert alert.message == "strategy threshold: on_candle took 900 ms, allowed are 500 (mine.py:5)"
    assert decision(d.candle()).reason == "strategy disabled"
    assert of(d.send(event), Alert) == []  # it is paused already


def test_a_hook_that_was_interrupted_pauses_the_strategy(tmp_path: Path) -> None:
    d = Driver(written(tmp_path, "return Intent('enter_long', 'go')"), params={}, bars=1)

    def stuck(hook: str, symbol: str, call: object) -> object:
        raise Stuck

    d.engine.decisions.hooks.watch = stuck
    commands = d.candle()
    assert only(commands, Alert).message == "strategy threshold: on_candle did not return (mine.py:5)"
    assert of(commands, PlaceOrder) == []


# --- a replay finds the same ----------------------------------------------------------------------------------------


def test_replaying_the_events_gives_the_same_failure(tmp_path: Path) -> None:
    body = "self.asked = getattr(self, 'asked', 0) + 1\nreturn [Intent('hold', 'x')][self.asked // 3]"
    cls = written(tmp_path, body)
    d = Driver(cls, params={}, bars=1)
    for _ in range(4):
        d.candle()
    again = Engine(written(tmp_path, body))
    outputs: list[object] = []
    for ts_ms, kind, record in d.journal:
        if kind == "input":
            outputs += again.handle(ts_ms, record)  # type: ignore[arg-type]
    assert outputs == [record for _, kind, record in d.journal if kind == "output"]
    assert sum(isinstance(r, Decision) and "IndexError" in r.reason for r in outputs) == 1


# --- loading --------------------------------------------------------------------------------------------------------

STRATEGY = "from tradebot.trading.strategy import Intent, Strategy\nclass Mine(Strategy):\n"
CANDLE = "    def on_candle(self, view): return None\n"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import time\n" + STRATEGY + CANDLE, r"mine\.py:1: a strategy may not import time: it has no clock"),
        (STRATEGY + "    import os\n" + CANDLE, r"mine\.py:3: a strategy may not import os"),
        ("from datetime import datetime\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import datetime"),
        ("import asyncio\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import asyncio"),
        ("import socket\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import socket"),
        ("import random\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import random"),
        ("import numpy.random\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import numpy\.random"),
        ("from numpy import random\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import numpy\.random"),
        ("import numpy as np\n" + STRATEGY + "    x = np.random.rand()\n" + CANDLE, r"mine\.py:4: .* numpy\.random"),
        ("import numpy as np\n" + STRATEGY + "    x = np.load('x')\n" + CANDLE, r"mine\.py:4: .* numpy\.load"),
        ("import tradebot.settings\n" + STRATEGY + CANDLE, r"mine\.py:1: .* import tradebot\.settings"),
        (
            "from tradebot.trading.engine import Engine\n" + STRATEGY + CANDLE,
            r"mine\.py:1: .*tradebot\.trading\.engine",
        ),
        ("from .other import thing\n" + STRATEGY + CANDLE, r"mine\.py:1: a strategy is one file"),
        (STRATEGY + "    x = open('/etc/passwd')\n" + CANDLE, r"mine\.py:3: a strategy may not use open\(\)"),
        (STRATEGY + "    x = eval('1')\n" + CANDLE, r"mine\.py:3: a strategy may not use eval\(\)"),
        (STRATEGY + "    x = __import__('os')\n" + CANDLE, r"mine\.py:3: a strategy may not use __import__\(\)"),
        (STRATEGY + "    x = ().__class__.__base__\n" + CANDLE, r"mine\.py:3: a strategy may not use __"),
        (STRATEGY + "    x = hash('a')\n" + CANDLE, r"mine\.py:3: a strategy may not use hash\(\)"),
        (STRATEGY + "    async def on_candle(self, view): return None\n", r"mine\.py:3: a strategy waits for nothing"),
        (STRATEGY + "    def on_candle(self, view)\n", r"mine\.py:3: expected ':'"),
        ("x = \x00\n", r"mine\.py:1: "),
        ("\n\nx = 1 / 0\n", r"mine\.py:3: ZeroDivisionError: division by zero"),
        ("raise SystemExit('bye')\n", r"mine\.py:1: SystemExit: bye"),
        ("from tradebot.trading.strategy import Nothing\n", r"mine\.py:1: ImportError: cannot import name 'Nothing'"),
        ("x = 1\n", r"mine\.py: expected exactly one Strategy class, found none"),
        (STRATEGY + CANDLE + "class Other(Mine): pass\n", r"found Mine in line 2, Other in line 4"),
        (STRATEGY + "    pass\n", r"mine\.py:2: Mine defines none of on_forecast, on_candle"),
        (
            STRATEGY + "    def on_candel(self, view): pass\n",
            r"mine\.py:3: on_candel is no hook; did you mean on_candle\?",
        ),
        (STRATEGY + "    def on_book(self): pass\n", r"mine\.py:3: on_book must take \(self, view\)"),
        (STRATEGY + "    def on_timer(self, view): pass\n", r"mine\.py:3: on_timer must take \(self, view, name\)"),
        (
            STRATEGY + "    def on_candle(self, view): yield\n",
            r"mine\.py:3: on_candle must return an Intent, not yield",
        ),
        (STRATEGY + "    Params = dict\n" + CANDLE, r"mine\.py:2: Mine\.Params must be a msgspec\.Struct"),
        (
            "import msgspec\nclass P(msgspec.Struct): x: int = 1\n" + STRATEGY + "    Params = P\n" + CANDLE,
            r"mine\.py:4: P must be frozen",
        ),
    ],
)
def test_a_file_that_cannot_be_a_strategy_is_one_line_with_its_place(tmp_path: Path, source: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ConfigError, match=told) as caught:
        load_strategy(tmp_path, "mine")
    assert "\n" not in str(caught.value)


def test_names_that_the_file_defines_itself_are_its_own(tmp_path: Path) -> None:
    source = STRATEGY + "    def on_candle(self, view):\n        id, hash = 1, 2\n        return id and hash and None\n"
    (tmp_path / "mine.py").write_text(source)
    assert load_strategy(tmp_path, "mine")[0].__name__ == "Mine"


def test_what_runs_is_the_file_as_it_is_and_not_what_was_compiled_before(tmp_path: Path) -> None:
    first = written(tmp_path, "return Intent('hold', 'a')")
    second = written(tmp_path, "return Intent('hold', 'b')")  # as long, and within the same second
    assert decision(Driver(first, params={}, bars=1).candle()).reason == "a"
    assert decision(Driver(second, params={}, bars=1).candle()).reason == "b"
    assert not (tmp_path / "__pycache__").exists()


def test_a_file_that_fails_leaves_no_module_behind(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(ConfigError):
        load_strategy(tmp_path, "mine")
    assert set(sys.modules) == before


def test_a_missing_strategy_says_which_there_are(tmp_path: Path) -> None:
    for name in ("alpha", "beta", "_private", "test_alpha"):
        (tmp_path / f"{name}.py").touch()
    with pytest.raises(ConfigError, match=r"no strategy 'gamma' in .* \(found: alpha, beta\)"):
        load_strategy(tmp_path, "gamma")

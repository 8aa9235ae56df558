"""Back-tests for tests: small markets, strategies without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradebot.backtest.single import Outcome, Spec, run_backtest
from tradebot.events import Decision, EngineConfig, Filled, Record
from tradebot.journal import JournalRecord, Kind
from tradebot.market.candle import DAY_MS
from tradebot.shell.sequencer import Log

STRATEGIES = Path(__file__).parent / "strategies"


class Records:
    """A log that keeps what it is given where a test can look at it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, Record]] = []

    def append(self, kind: Kind, ts_ms: int, record: JournalRecord, /) -> int:
        self.lines.append((kind, ts_ms, record))
        return len(self.lines)

    def of(self, kind: type[Record]) -> list[Any]:
        """The records of a type, in order."""
        return [record for _, _, record in self.lines if isinstance(record, kind)]

    @property
    def decisions(self) -> list[Decision]:
        return self.of(Decision)

    @property
    def fills(self) -> list[Filled]:
        return self.of(Filled)


def asked(strategy: str = "pendulum", *, days: float = 2.0, **more: Any) -> Spec:
    """A spec of a strategy of these tests."""
    params = more.pop("params", {})
    risk = {} if (limits := more.pop("risk", None)) is None else {"risk": limits}
    config = EngineConfig(mode="demo", symbols=(), strategy=strategy, strategy_params=params, **risk)
    return Spec(
        config=config,
        strategies_dir=more.pop("strategies_dir", STRATEGIES),
        for_ms=int(days * DAY_MS),
        history_days=more.pop("history_days", 15),
        **more,
    )


def run(spec: Spec, log: Log | None = None, **more: Any) -> Outcome:
    """Run it to its end."""
    outcome = run_backtest(spec, log=log, **more)
    assert outcome is not None
    return outcome

"""Back-tests for tests: small markets, strategies without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradebot.backtest.door import Witness
from tradebot.backtest.single import Outcome, Spec, run_backtest
from tradebot.events import Decision, EngineConfig, Filled, Record
from tradebot.market.candle import DAY_MS

STRATEGIES = Path(__file__).parent / "strategies"


class Records:
    """A witness that keeps what it saw."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, Record]] = []

    def __call__(self, kind: str, ts_ms: int, record: Record) -> None:
        self.lines.append((kind, ts_ms, record))

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


def run(spec: Spec, witness: Witness | None = None, **more: Any) -> Outcome:
    """Run it to its end."""
    outcome = run_backtest(spec, witness=witness, **more)
    assert outcome is not None
    return outcome

"""What a demo was asked for, and what follows from whether its market is generated or recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tradebot.daemon.snapshot import Snapshot
from tradebot.jobs import JobResult
from tradebot.market.candle import DAY_MS

DEFAULT_FOR_MS = 3 * DAY_MS
HISTORY_DAYS = 180
BREAK_DAYS = 100
"""On a generated market the first model was trained this long before the start, on as many days, as if nobody had
retrained since; then the market's two busy regimes changed places. The retrained model sees only the market as it has
become, and the gate has enough rows (ten days and more) of it to compare the two."""

View = Callable[[Snapshot], None]


@dataclass(slots=True)
class Demo:
    """What was asked for, when it began, and how its first models went."""

    for_ms: int | None
    seconds: float | None
    speed: str
    replay: list[str]
    symbols: list[str]
    seed: int
    state_dir: Path
    strategies_dir: Path
    faults: Path | None
    view: View
    steady: bool = False
    """Generated markets: the two busy regimes keep their places, and a model has nothing new to learn."""
    trains: bool = True
    """Whether models are trained for the run; where none is, the market is told without them."""
    ranked: bool = True
    """On recorded markets: whether the strongest forecasts are acted on, whatever they are worth."""
    began: float = field(default_factory=time.monotonic)
    results: list[JobResult] = field(default_factory=list)

    @property
    def length_ms(self) -> int:
        """Exchange time to trade, as far as the market reaches."""
        return self.for_ms or DEFAULT_FOR_MS

    @property
    def history_days(self) -> int:
        """Days of candles before the start."""
        return HISTORY_DAYS if self.replay else 2 * BREAK_DAYS

    @property
    def break_days(self) -> int | None:
        """Days before the start when a generated market's two busy regimes change places; None where they never do."""
        return None if self.replay or self.steady else BREAK_DAYS

    @property
    def first_model_age_days(self) -> int:
        """How long before the start the first model was trained."""
        return 0 if self.replay else BREAK_DAYS

    @property
    def training_days(self) -> int:
        """Days of candles that each model is trained on."""
        return self.history_days if self.replay else BREAK_DAYS

    @property
    def source(self) -> str:
        """The market in words."""
        if self.replay:
            files = ", ".join(Path(p.partition("=")[2] or p).name for p in self.replay)
            how = "; acting on the strongest 2 % of forecasts whether or not they cover their costs"
            return f"recorded: {files}{how if self.ranked else ''}"
        market = f"MADE-UP market, seed {self.seed}: signal planted"
        if self.break_days is None:
            return f"{market}, unchanged since the first training" if self.trains else market
        since = " after the first training" if self.trains else ""
        return (  # the first half fits 80 columns; a terminal may cut the rest
            f"{market}, broken on purpose{since}: "
            f"{self.break_days} days before the start its two busy regimes changed places"
        )

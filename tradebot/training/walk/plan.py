"""What a walk-forward of a forecaster is asked for."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from tradebot.errors import ConfigError
from tradebot.jobs import CandleSource, JobCosts

Metric = Literal["total_return", "win_rate", "sharpe_ratio", "sortino_ratio", "calmar_ratio"]
Rule = Literal["threshold", "levels", "indicator"]


class WalkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One walk. ``days`` back from ``as_of_ms`` (ms) are walked: ``train_days`` fitted on, their last 15 % chosen by,
    ``test_days`` traded, and on by as many. ``expanding``: fitted on everything before, ``train_days`` at least.

    ``metric``, on validation rows, chooses among ``trials`` parameter sets (the first: the family's defaults) and the
    level from which on a forecast is acted on. ``rule``: ``threshold`` enters when the expected return reaches that
    level and holds for the label's horizon; ``levels`` is long while the published net says more than 0.7 and short
    while it says less than 0.3; ``indicator`` trades the scores of ``lorentzian`` through its filters, for four bars.
    """

    model: str
    symbol: str
    source: CandleSource
    as_of_ms: int
    interval: str = ""
    options: dict[str, float | int | str | bool] = {}
    params: dict[str, float | int | str | bool] = {}
    days: int = 180
    train_days: int = 30
    test_days: int = 7
    metric: Metric = "sharpe_ratio"
    rule: Rule = "threshold"
    trials: int = 1
    rounds: int = 30
    seed: int = 7
    threads: int = 1
    costs: JobCosts = JobCosts()
    cooldown_rows: int = 2
    adversarial: bool = False
    expanding: bool = False

    def __post_init__(self) -> None:
        for name in ("days", "train_days", "test_days", "trials", "rounds", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"walk-forward: {name} must be at least 1, is {getattr(self, name)}")
        if self.days < self.train_days + self.test_days:
            raise ConfigError(
                f"walk-forward: {self.days} days are too few: one window takes {self.train_days + self.test_days}"
            )

    def fingerprint(self, data_sha256: str) -> str:
        """Tells one walk from another: a directory holds the windows of one only."""
        asked = msgspec.structs.replace(self, threads=1)
        return hashlib.sha256(msgspec.json.encode([asked, data_sha256])).hexdigest()

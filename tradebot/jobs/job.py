"""What a retrain job asks for and what became of it. Importable by the daemon: nothing here trains."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from tradebot.errors import DataError

JobState = Literal["pending", "running", "done"]
Verdict = Literal["promoted", "provisional", "refused", "failed", "cancelled"]
Device = Literal["auto", "cpu", "cuda"]
"""Where a net is fitted; auto: on an accelerator where there is one."""

MIN_TEST_SHARE, MAX_TEST_SHARE = 0.02, 0.5
"""Less judges nothing, more leaves too little to learn from."""

Stage = Literal["waiting", "data", "dataset", "tune", "fit", "evaluate", "export", "gate", "store", "done"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")


def job_id(symbol: str, model: str, as_of_ms: int) -> str:
    """The key of a job: asking twice for the same symbol, model and moment is one job. Sorts by time.

    >>> job_id("SOLUSDT", "lightgbm", 1_700_000_000_000)
    '01700000000000-SOLUSDT-lightgbm'
    """
    return f"{as_of_ms:014d}-{symbol}-{model}"


def moment_of(job_id: str) -> int | None:
    """The moment in a key made by ``job_id``, ms UTC; None in a name of another kind.

    >>> moment_of("01700000000000-SOLUSDT-lightgbm"), moment_of("SOLUSDT-lightgbm-5m")
    (1700000000000, None)
    """
    found = re.match(r"(\d{14})-", job_id, re.ASCII)
    return int(found[1]) if found else None


class RestSource(msgspec.Struct, frozen=True, kw_only=True, tag="rest"):
    """Candles from an exchange's public REST interface at ``url``."""

    url: str


class ParquetSource(msgspec.Struct, frozen=True, kw_only=True, tag="parquet"):
    """Candles from a parquet file (columns open_time, open, high, low, close, volume), or from the one of the symbol's
    name in a folder."""

    path: str


CandleSource = RestSource | ParquetSource


class JobCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Trading costs the model is judged by, per side, in bp of notional. Fees are Bitget's base tier."""

    fee_bp: float = 6.0
    half_spread_bp: float = 0.5
    slippage_bp: float = 0.5

    @property
    def round_trip_bp(self) -> float:
        """Cost of entering and leaving with market orders.

        >>> JobCosts().round_trip_bp
        14.0
        """
        return 2 * (self.fee_bp + self.half_spread_bp + self.slippage_bp)


class RetrainJob(msgspec.Struct, frozen=True, kw_only=True):
    """One training of one model.

    Only candles closed at ``as_of_ms`` are used, ``days`` back. ``declared_ms`` is how long the job is stated to take
    in exchange time: under a paced clock its result lands at ``as_of_ms + declared_ms`` whatever the machine's
    speed. Equal jobs on equal candles give equal models, byte for byte, with the same libraries. ``cooldown_rows`` is
    how many candles the strategy pauses after a losing trade: the level is chosen and judged by the same rule.

    ``options`` are the family's (label, size of a net), or parameters of its fit that the search must then leave as
    they are; ``lr`` and ``batch_size`` likewise, under whatever name the family knows them; ``params`` are such
    parameters as an earlier search gave them. ``interval`` empty: the family's own. ``epochs`` are for nets, ``rounds``
    for boosters. ``test_share`` of the time span, the newest, is judged on and decides nothing; where
    ``test_from_ms`` is given, rows from that moment on (ms UTC) are, whatever share they have.
    """

    id: str
    symbol: str
    model: str
    as_of_ms: int
    declared_ms: int
    days: int
    source: CandleSource
    store: str
    seed: int = 7
    trials: int = 6
    rounds: int = 250
    threads: int = 1
    allow_provisional: bool = False
    costs: JobCosts = JobCosts()
    cooldown_rows: int = 2
    options: dict[str, float | int | str | bool] = {}
    params: dict[str, float | int | str | bool] = {}
    interval: str = ""
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    test_share: float = 0.15
    test_from_ms: int | None = None
    device: Device = "auto"

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise DataError(f"{self.id!r} cannot be a job id; use letters, digits, '_', '.' and '-'")
        for name in ("days", "trials", "rounds", "threads"):
            if getattr(self, name) < 1:
                raise DataError(f"job {self.id}: {name} must be at least 1, is {getattr(self, name)}")
        if self.cooldown_rows < 0:
            raise DataError(f"job {self.id}: cooldown_rows must not be negative, is {self.cooldown_rows}")
        for name in ("epochs", "lr", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DataError(f"job {self.id}: {name} must be positive, is {value}")
        if not MIN_TEST_SHARE <= self.test_share <= MAX_TEST_SHARE:
            raise DataError(
                f"job {self.id}: test_share must be {MIN_TEST_SHARE} to {MAX_TEST_SHARE}, is {self.test_share}"
            )
        if self.test_from_ms is not None and not 0 < self.test_from_ms < self.as_of_ms:
            raise DataError(
                f"job {self.id}: test_from_ms must lie before as_of_ms {self.as_of_ms}, is {self.test_from_ms}"
            )
        if self.declared_ms < 0:
            raise DataError(f"job {self.id}: declared_ms must not be negative, is {self.declared_ms}")


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running job is. ``eta_s`` is wall time left, None while unknown. ``notes``: what it has said of its
    candles, and of what lies beside them, so far."""

    stage: Stage
    done: int
    total: int
    message: str
    elapsed_s: float
    eta_s: float | None = None
    notes: tuple[str, ...] = ()


class JobMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the candidate on the test slice, with interval and (named) baseline; None where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    unit: str = ""


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. ``reason`` is one line for a person; ``exit_code`` follows interface.md section 1.

    ``version`` names what was stored (also for a refused candidate), ``promoted`` whether the champion pointer moved.
    ``interval`` is that of the model in the store, empty where nothing was stored.
    """

    id: str
    symbol: str
    model: str
    verdict: Verdict
    promoted: bool
    reason: str
    exit_code: int
    version: str = ""
    sha256: str = ""
    champion: str = ""
    metrics: dict[str, JobMetric] = {}
    took_s: float = 0.0
    interval: str = ""

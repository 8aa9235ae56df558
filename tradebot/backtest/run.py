"""What a back-test leaves behind: one directory, read by reports and comparisons.

======================  ============================================================================================
``run.json``            :class:`Run`: what was asked for, hashes of everything it depends on, the result object
``equity.parquet``      one row every :data:`STEP_MS` of exchange time (:class:`EquityCurve`)
``prices.parquet``      ``ts_ms`` as above, and the mid of each symbol in a column of its name (NaN: no book yet)
``trades.parquet``      one row a trade from flat to flat, those still open included (:data:`TRADE_COLUMNS`)
``decisions.parquet``   one row a decision, holds included (:data:`DECISION_COLUMNS`)
======================  ============================================================================================

Times are ms since the epoch (UTC) of the exchange's clock, amounts USDT. Money in parquet is float64: it is for figures
and plots; the exact amounts stand in ``run.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tradebot.errors import DataError
from tradebot.events import Decision, EngineConfig
from tradebot.ops.files import write_atomic

FORMAT = 1
STEP_MS = 300_000
RUN, EQUITY, PRICES, TRADES, DECISIONS = (
    "run.json", "equity.parquet", "prices.parquet", "trades.parquet", "decisions.parquet",
)  # fmt: skip

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ModelUsed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that served, from ``since_ms`` on."""

    symbol: str
    name: str
    version: str
    sha256: str
    since_ms: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a back-test was asked for and what came of it.

    ``asked_to_ms`` is where the window ended, ``to_ms`` how far it came: before that only when ``interrupted``.
    ``data_hash`` is over the contents of the files (generated markets: over what generates them). Equal ``inputs_hash``
    means equal results. ``result`` is the object that ``tradebot backtest --json`` prints last. ``cautions`` say, in
    words, what makes the figures other than what they seem.
    """

    format: int = FORMAT
    name: str
    source: str
    files: tuple[str, ...]
    symbols: tuple[str, ...]
    seed: int
    from_ms: int
    to_ms: int
    asked_to_ms: int
    interrupted: bool
    config: EngineConfig
    settings_hash: str
    strategy_hash: str
    engine_hash: str
    data_hash: str
    inputs_hash: str
    models: tuple[ModelUsed, ...]
    start_equity: float
    result: dict[str, Any]
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """The account at ``ts_ms``. ``equity`` includes the profit of open positions at mark; ``balance`` does not.

    ``gross`` and ``net`` are the notional of open positions at mark, without and with sign. The first row is the start,
    the last one the end of the run.
    """

    ts_ms: Ints
    equity: Floats
    balance: Floats
    gross: Floats
    net: Floats


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades in the order in which they ended, then those still open (``closed_ms`` 0).

    ``qty`` is base coin, ``entry_notional`` what was entered in USDT, ``gross`` profit before fees and funding, which
    are negative when paid; ``net`` is their sum. ``best_bp`` and ``worst_bp`` (NaN: not watched) are the furthest that
    the mark went our way and the other way.
    """

    symbol: NDArray[np.str_]
    side: NDArray[np.str_]
    opened_ms: Ints
    closed_ms: Ints
    qty: Floats
    entry_price: Floats
    exit_price: Floats
    entry_notional: Floats
    gross: Floats
    fees: Floats
    funding: Floats
    net: Floats
    net_bp: Floats
    best_bp: Floats
    worst_bp: Floats
    end: NDArray[np.str_]
    strategy: NDArray[np.str_]
    model: NDArray[np.str_]
    version: NDArray[np.str_]
    entry_decision: NDArray[np.str_]
    exit_decision: NDArray[np.str_]

    def __len__(self) -> int:
        return int(self.opened_ms.size)


TRADE_COLUMNS = tuple(Trades.__dataclass_fields__)

DECISION_SCHEMA = pa.schema(
    [
        ("decision_id", pa.string()),
        ("ts_ms", pa.int64()),
        ("symbol", pa.dictionary(pa.int32(), pa.string())),
        ("action", pa.dictionary(pa.int32(), pa.string())),
        ("reason", pa.dictionary(pa.int32(), pa.string())),
        ("verdict", pa.dictionary(pa.int32(), pa.string())),
        ("blocked_by", pa.dictionary(pa.int32(), pa.string())),
        ("model", pa.dictionary(pa.int32(), pa.string())),
        ("version", pa.dictionary(pa.int32(), pa.string())),
        ("expected_bp", pa.float64()),
        ("p_up", pa.float64()),
        ("p_down", pa.float64()),
        ("bid", pa.float64()),
        ("ask", pa.float64()),
        ("position_qty", pa.float64()),
        ("qty", pa.float64()),
        ("client_oid", pa.string()),
    ]
)
DECISION_COLUMNS = tuple(DECISION_SCHEMA.names)
"""``blocked_by``: names of the checks that blocked it, comma separated. Prices USDT, sizes base coin."""
DECISIONS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's directory, read lazily. Raises DataError where a file is missing, damaged or of another format."""

    path: Path

    def run(self) -> Run:
        """What was asked for and what came of it."""
        file = self.path / RUN
        try:
            run = msgspec.json.decode(file.read_bytes(), type=Run)
        except FileNotFoundError:
            raise DataError(f"{self.path}: not the directory of a back-test ({RUN} is missing)") from None
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"{file}: cannot be read ({error})") from None
        if run.format != FORMAT:
            raise DataError(f"{file}: of format {run.format}, this program reads {FORMAT}; run the back-test again")
        return run

    def equity(self) -> EquityCurve:
        """The account over time."""
        columns = self._columns(EQUITY, EquityCurve.__slots__)
        return EquityCurve(**columns)

    def prices(self) -> tuple[Ints, dict[str, Floats]]:
        """Times as in :meth:`equity`, and the mid of each symbol then."""
        columns = self._columns(PRICES, ("ts_ms",))
        return columns.pop("ts_ms"), columns

    def trades(self) -> Trades:
        """All trades."""
        return Trades(**self._columns(TRADES, TRADE_COLUMNS))

    def decisions(self, columns: tuple[str, ...] = DECISION_COLUMNS) -> Iterator[Mapping[str, list[Any]]]:
        """Decisions in the order they were made, in portions: a list for each column."""
        file = self.path / DECISIONS
        try:
            with pq.ParquetFile(file) as table:
                _complete(file, table.schema_arrow.names, columns)
                for batch in table.iter_batches(batch_size=DECISIONS_AT_ONCE, columns=list(columns)):
                    yield {name: batch.column(name).to_pylist() for name in columns}
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file}: cannot be read ({error})") from None

    def _columns(self, name: str, needed: tuple[str, ...]) -> dict[str, Any]:
        file = self.path / name
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file}: cannot be read ({error})") from None
        _complete(file, table.column_names, needed)
        return {
            column: np.asarray(table.column(column).to_pylist(), dtype=np.str_)
            if pa.types.is_string(table.schema.field(column).type)
            else table.column(column).to_numpy()
            for column in table.column_names
        }


def _complete(file: Path, there: Sequence[str], needed: Sequence[str]) -> None:
    missing = [column for column in needed if column not in there]
    if missing:
        raise DataError(f"{file}: lacks {', '.join(missing)}; run the back-test again")


class DecisionFile:
    """Decisions as they are made, written in portions. Closed it is complete; before that it is a temporary file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DECISIONS
        self._partial = folder / f"{DECISIONS}.partial"
        self._rows: list[Decision] = []
        self._writer = pq.ParquetWriter(self._partial, DECISION_SCHEMA, compression="zstd")

    def add(self, decision: Decision) -> None:
        """The next one."""
        self._rows.append(decision)
        if len(self._rows) >= DECISIONS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what is left and give the file its name."""
        self._flush()
        self._writer.close()
        self._partial.replace(self._path)

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        columns: list[list[Any]] = [
            [d.decision_id for d in rows],
            [d.ts_ms for d in rows],
            [d.symbol for d in rows],
            [d.action for d in rows],
            [d.reason for d in rows],
            [d.verdict for d in rows],
            [",".join(c.name for c in d.checks if c.verdict == "block") for d in rows],
            [d.model for d in rows],
            [d.version for d in rows],
            [d.expected_bp for d in rows],
            [d.p_up for d in rows],
            [d.p_down for d in rows],
            [d.bid for d in rows],
            [d.ask for d in rows],
            [float(d.position_qty) for d in rows],
            [float(d.qty) for d in rows],
            [d.client_oid for d in rows],
        ]
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, DECISION_SCHEMA, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=DECISION_SCHEMA))


def write_run(folder: Path, run: Run, equity: EquityCurve, prices: Mapping[str, Floats], trades: Trades) -> None:
    """Write everything but the decisions; ``run.json`` comes last, so that a directory that has it is whole.

    ``prices`` are mids at the times of ``equity``. Raises DataError when the disk refuses.
    """
    _write_table(folder / EQUITY, {name: getattr(equity, name) for name in EquityCurve.__slots__})
    _write_table(folder / PRICES, {"ts_ms": equity.ts_ms, **prices})
    _write_table(folder / TRADES, {name: getattr(trades, name) for name in TRADE_COLUMNS})
    write_atomic(folder / RUN, msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())

"""What a model version says about itself. Everything needed to serve, judge and reproduce it."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

from tradebot.errors import ModelError
from tradebot.events import ModelRef

GateVerdict = Literal["promoted", "provisional", "refused"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class ModelKey(msgspec.Struct, frozen=True, order=True):
    """Which model: a symbol, a family and the candle interval it reads, as in ``SOLUSDT/lightgbm-5m``."""

    symbol: str
    name: str
    interval: str

    def __post_init__(self) -> None:
        for part in (self.symbol, self.name, self.interval):
            if not _NAME.fullmatch(part):
                raise ModelError(f"{part!r} cannot be part of a model's name; use letters, digits, '_', '.' and '-'")

    def __str__(self) -> str:
        return f"{self.symbol}/{self.name}-{self.interval}"

    @classmethod
    def parse(cls, text: str) -> ModelKey:
        """The key written as ``SYMBOL/NAME-INTERVAL``. Raises ModelError.

        >>> ModelKey.parse("SOLUSDT/lightgbm-5m").interval
        '5m'
        """
        symbol, slash, rest = text.partition("/")
        name, dash, interval = rest.rpartition("-")
        if not (slash and dash):
            raise ModelError(f"{text!r} does not name a model; write SYMBOL/NAME-INTERVAL, like SOLUSDT/lightgbm-5m")
        return cls(symbol, name, interval)


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the graph takes: float32 rows of ``features`` in this order, from closed candles of ``interval``.

    ``view`` is the name of that list of features (``features.views``); ``row_shape`` (features,), or (steps, features)
    where it sees a window.
    """

    tensor: str
    features: tuple[str, ...]
    schema_hash: str
    interval: str
    row_shape: tuple[int, ...]
    view: str = "candles-5m"

    @property
    def steps(self) -> int:
        return self.row_shape[0] if len(self.row_shape) == 2 else 1


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor the graph gives. ``columns`` names its last axis (levels of quantiles: ``0.1``); ``unit`` like ``bp``
    or ``probability``."""

    tensor: str
    columns: tuple[str, ...]
    unit: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where the version comes from. Times are ms since the epoch (UTC).

    ``data_from_ms`` and ``data_to_ms`` bound the candles (first open, last close); ``fit_end_ms`` is the last moment
    whose price influenced anything that was chosen (weights, stopping, threshold): later rows are untouched.
    ``train_to_ms`` is when the last training label was known, ``test_from_ms`` where the test slice starts. The gate's
    verdict rests on rows from ``judged_from_ms`` to ``judged_to_ms`` (when the last outcome was known); ``0`` means
    that nothing was judged. ``earlier_verdicts`` are the spans (from, to) of this model's earlier verdicts that reach
    into the test slice, versions no longer kept included: a version chosen on rows is no stranger to them.
    ``data_sha256`` hashes the candles' columns; ``code_version`` names the release and the sources' hash.
    """

    as_of_ms: int
    data_from_ms: int
    data_to_ms: int
    fit_end_ms: int
    test_from_ms: int
    rows: int
    candles: int
    data_sha256: str
    code_version: str
    seed: int
    params: dict[str, float | int | str | bool]
    spec: dict[str, float | int | str | bool]
    libraries: dict[str, str]
    trials: int
    train_to_ms: int = 0
    judged_from_ms: int = 0
    judged_to_ms: int = 0
    earlier_verdicts: tuple[tuple[int, int], ...] = ()


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A number on the untouched test slice, its block-bootstrap interval (``level``) and what the baseline reaches.

    ``baseline_name`` says which rule or model the baseline is. ``blocks`` is the effective number of independent
    observations behind the interval, which is widened when they are few. Undefined values are None, never infinite.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float = 0.9
    baseline: float | None = None
    baseline_name: str = ""
    unit: str = ""
    blocks: float | None = None


class GateCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of the gate with what was seen and what was required."""

    name: str
    passed: bool
    value: str
    required: str


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's verdict (models.md section 7, item 6) on ``rows`` rows that neither model was fitted to.

    ``baseline`` names the rule without a model, chosen on validation rows, that had to be beaten.
    ``reused_verdicts`` is how many earlier verdicts were given on some of the rows, and ``required_probability`` what
    P(better) therefore had to reach.
    """

    verdict: GateVerdict
    reason: str
    checks: tuple[GateCheck, ...] = ()
    champion: str | None = None
    rows: int = 0
    baseline: str = ""
    reused_verdicts: int = 0
    required_probability: float = 0.0


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Raw rows (little-endian float32, row after row, NaN kept) and what the graph gave for them when exported;
    ``quantiles_bp`` of a graph that gives quantiles."""

    count: int
    rows: bytes
    probabilities: tuple[tuple[float, ...], ...]
    expected_bp: tuple[float, ...]
    quantiles_bp: tuple[tuple[float, ...], ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``manifest.json`` of a version. ``sha256`` is that of ``model.onnx`` and is the model's identity.

    ``entry_bp``: the |expected return| (bp) from which on acting was best on the validation slice.
    ``device``: ``cpu`` when an accelerator does not help this graph, else ``any``. ``options`` are those of its family
    with which its label and inputs are made again. ``research_only`` says why the version may never serve; empty when
    it may.
    """

    format: Literal[1] = 1
    family: str
    name: str
    symbol: str
    inputs: Inputs
    outputs: tuple[Output, ...]
    horizon_ms: int
    lineage: Lineage
    metrics: dict[str, Metric]
    gate: Gate
    golden: Golden
    sha256: str
    provisional: bool
    entry_bp: float | None
    device: Literal["cpu", "any"] = "cpu"
    options: dict[str, float | int | str | bool] = {}
    research_only: str = ""

    @property
    def key(self) -> ModelKey:
        return ModelKey(self.symbol, self.name, self.inputs.interval)

    def ref(self, version: str) -> ModelRef:
        """How events name this model."""
        return ModelRef(
            symbol=self.symbol,
            name=self.name,
            version=version,
            sha256=self.sha256,
            schema_hash=self.inputs.schema_hash,
            horizon_ms=self.horizon_ms,
            provisional=self.provisional,
            entry_bp=self.entry_bp,
            view=self.inputs.view,
            interval=self.inputs.interval,
            steps=self.inputs.steps,
        )


def encode(value: object) -> bytes:
    """Readable JSON, keys in declaration order, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def decode_manifest(content: bytes, where: str) -> Manifest:
    """Raises ModelError when the text is cut off, of another format or of the wrong types."""
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise ModelError(f"{where}: not a valid manifest ({error})") from error


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

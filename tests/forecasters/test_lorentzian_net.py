"""The nets of ``lorentzian-net``: size, inputs, graphs, and what each learns."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from tests.training.advanced.made_up import sample as made_up  # noqa: E402
from tests.training.market import candles  # noqa: E402
from tradebot.errors import ConfigError, DataError  # noqa: E402
from tradebot.features.side import SIDE  # noqa: E402
from tradebot.forecasters.base import CandleColumns, Options, Sample, family  # noqa: E402
from tradebot.forecasters.external import External  # noqa: E402
from tradebot.forecasters.lorentzian_modules import Levels, Memory, Published, parameters_of  # noqa: E402
from tradebot.forecasters.lorentzian_net import PUBLISHED_FROM, LorentzianNet  # noqa: E402
from tradebot.serving.session import open_session  # noqa: E402
from tradebot.training.advanced.transfer import pooled  # noqa: E402
from tradebot.training.dataset import build_dataset  # noqa: E402
from tradebot.training.parity import with_missing_values  # noqa: E402
from tradebot.training.splits import Splits, split_by_time  # noqa: E402
from tradebot.training.tuning import tune  # noqa: E402

LABEL: Options = {"horizon": 3, "threshold": 0.002}


def planted(count: int = 7_000, seed: int = 2) -> CandleColumns:
    """Candles whose volume tells whether the next three move, and the body which way: nothing else does."""
    rng = np.random.default_rng(seed)
    loud = rng.random(count) < 0.3
    noise = rng.normal(0, 0.0008, count)
    moves = noise.copy()
    for i in range(1, count):
        if loud[i - 1]:
            moves[i] += 0.004 * np.sign(noise[i - 1])
    close = 100 * np.exp(np.cumsum(moves))
    opened = np.concatenate([[100.0], close[:-1]])
    base = candles(count)
    return CandleColumns(
        open_ms=base.open_ms,
        open=opened,
        high=np.maximum(opened, close) * 1.0001,
        low=np.minimum(opened, close) / 1.0001,
        close=close,
        volume=np.where(loud, 400.0, 100.0) * rng.lognormal(0, 0.05, count),
    )


MARKET = planted()


def splits_of(kind: LorentzianNet, market: CandleColumns = MARKET) -> Splits:
    sample = build_dataset(kind, market).sample
    return split_by_time(sample, validation_share=0.15, test_share=0.15, bar_ms=300_000, embargo_bars=60)


def net(**options: float | int | str | bool) -> LorentzianNet:
    made = family("lorentzian-net", {**LABEL, **options}, "5m")
    assert isinstance(made, LorentzianNet)
    return made


def test_the_published_net_has_its_5572_parameters() -> None:
    assert parameters_of(Published()) == 5_572
    assert len(net(kind="published", lead=False).inputs) == len(net(kind="published", compat=True).inputs) == 18


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "published"},
        {"kind": "published", "compat": True},
        {"kind": "attention", "prototypes": 64},
        {"kind": "memory", "memory": 400, "k": 16},
    ],
    ids=["published", "compat", "attention", "memory"],
)
def test_each_kind_finds_what_was_planted_and_its_graph_says_the_same(options: Options) -> None:
    kind = net(**options)
    splits = splits_of(kind)
    prepared = kind.prepare(splits.train, splits.validation, seed=3, threads=1)
    rate = 3e-3 if kind.given.kind == "published" else 2e-2
    rounds = 2 if kind.given.compat else 8
    fitted = kind.fit(prepared, {"learning_rate": rate, "batch": 64}, rounds=rounds)
    p, bp = fitted.predict(splits.test.rows)
    base = np.bincount(splits.train.classes, minlength=3) / len(splits.train)
    loss = -np.log(p[np.arange(len(p)), splits.test.classes]).mean()
    if kind.given.compat:  # absolute prices that drift: it need not be good, only whole
        assert np.isfinite(loss)
    else:
        assert loss < -np.log(base[splits.test.classes]).mean() - 0.01
        assert np.corrcoef(bp, splits.test.realised_bp)[0, 1] > 0.1
    assert len(fitted.history) == rounds
    exported = fitted.export(splits.test.rows)
    session = open_session(exported.onnx, where="test")
    holed = with_missing_values(splits.test.rows)  # type: ignore[arg-type]
    p, bp = fitted.predict(holed)
    for batch in (1, 7):
        for i in range(0, 350, batch):
            q, e = session.run(("probabilities", "expected_bp"), {exported.input_name: holed[i : i + batch]})
            np.testing.assert_allclose(q, p[i : i + batch], atol=1e-5)
            np.testing.assert_allclose(e[:, 0], bp[i : i + batch], atol=1e-3)
    saved = torch.load(io.BytesIO(exported.files["model.pt"]), weights_only=True)
    assert saved["config"]["kind"] == kind.given.kind
    if kind.given.kind == "attention":
        again = kind.fit(prepared, {"learning_rate": rate, "batch": 64}, rounds=rounds)
        np.testing.assert_array_equal(again.predict(holed)[0], p)


def test_the_published_grid_is_searched_from_the_options_on() -> None:
    kind = net(kind="published", hidden=48)
    splits = splits_of(kind)
    found = tune(kind, [splits], trials=5, rounds=1, seed=1, threads=1)
    assert found.trials == 5
    assert found.params["learning_rate"] in (1e-2, 1e-3, 1e-4)
    assert found.params["hidden"] in (32, 48, 64, 128, 256)
    assert kind.defaults(1)["hidden"] == 48
    assert set(kind.defaults(1)) == set(found.params)
    assert "prototypes" in net(kind="attention").defaults(1)


def test_the_metric_learns_what_counts() -> None:
    kind = net(kind="attention", prototypes=64)
    splits = splits_of(kind)
    prepared = kind.prepare(splits.train, splits.validation, seed=3, threads=1)
    fitted = kind.fit(prepared, {"learning_rate": 2e-2, "batch": 64}, rounds=8)
    strongest = sorted(fitted.importance, key=lambda name: -fitted.importance[name])[:6]
    assert {"vol_ratio_20", "ret_1", "body"} & set(strongest)
    assert sum(fitted.importance.values()) == pytest.approx(1.0)


def test_levels_are_the_published_inputs_again() -> None:
    kind = family("lorentzian-net", {"kind": "published", "compat": True}, "5m")
    rows, usable = kind.rows(MARKET)
    columns = [kind.features.index(name) for name in PUBLISHED_FROM]
    levels = Levels()(torch.from_numpy(rows[usable][:, columns])).numpy()
    close, at = MARKET.close, np.flatnonzero(usable)
    middle = np.array([close[t - 19 : t + 1].mean() for t in at])
    spread = np.array([close[t - 19 : t + 1].std() for t in at])
    np.testing.assert_allclose(levels[:, 3], close[at], rtol=1e-5)
    np.testing.assert_allclose(levels[:, 13], middle + 2 * spread, rtol=1e-4)
    np.testing.assert_allclose(levels[:, 14], middle - 2 * spread, rtol=1e-4)
    quick, slow = ema(close, 12)[at], ema(close, 26)[at]
    late = slice(3_000, None)
    np.testing.assert_allclose(levels[late, 6], (quick - slow)[late], rtol=2e-3, atol=2e-3)


def ema(x: np.ndarray, n: int) -> np.ndarray:
    out = np.empty_like(x)
    out[0] = x[0]
    for i in range(1, len(x)):
        out[i] = out[i - 1] + (x[i] - out[i - 1]) * 2 / (n + 1)
    return out


def test_a_neighbour_that_is_pushed_out_of_the_k_had_faded() -> None:
    """The answer moves as little as the row does, however many neighbours change places."""
    torch.manual_seed(1)
    memory = Memory(torch.randn(500, 4), torch.eye(3)[torch.randint(0, 3, (500,))], torch.ones(3) / 3, 8).eval()
    start, step = torch.randn(1, 4), torch.randn(1, 4) * 1e-4
    way = torch.cat([start + i * step for i in range(10_000)])
    with torch.inference_mode():
        said = torch.exp(memory(way))
        which = torch.topk(-memory.metric(way, memory.bank), 8, dim=1).indices.sort(dim=1).values
    assert (which[1:] != which[:-1]).any(dim=1).sum() > 15
    assert (said[1:] - said[:-1]).abs().max() < 2e-3


def test_btc_and_eth_lead_when_asked_for() -> None:
    assert "eth_ret_12" in net(kind="published").inputs
    assert "eth_ret_12" not in net(kind="published", lead=False).inputs
    rng = np.random.default_rng(5)
    side = np.full((len(MARKET), len(SIDE)), np.nan)
    ahead = np.concatenate([np.log(MARKET.close[1:] / MARKET.close[:-1]), [0.0]])  # ETH moves one candle before
    side[:, SIDE.index("eth_close")] = 50 * np.exp(np.cumsum(ahead + rng.normal(0, 1e-4, len(MARKET))))
    market = CandleColumns(
        MARKET.open_ms, MARKET.open, MARKET.high, MARKET.low, MARKET.close, candles(len(MARKET)).volume, side
    )
    losses = {}
    for lead in (False, True):
        kind = family("lorentzian-net", {"kind": "published", "horizon": 1, "threshold": 0.001, "lead": lead}, "5m")
        splits = splits_of(kind, market)  # type: ignore[arg-type]
        prepared = kind.prepare(splits.train, splits.validation, seed=3, threads=1)
        losses[lead] = kind.fit(prepared, {"learning_rate": 3e-3, "batch": 64}, rounds=6).validation_loss
    assert losses[True] < losses[False] - 0.05


def test_external_columns_are_known_when_they_were_published(tmp_path: Path) -> None:
    times = np.array([1_000, 2_000, 3_000], dtype=np.int64)
    pq.write_table(pa.table({"time": times, "mood": [0.1, 0.2, 0.3]}), tmp_path / "mood.parquet")
    mood = External.of(str(tmp_path / "mood.parquet"), "1s")
    known = mood.known_at(np.array([1_999, 2_000, 3_999, 4_000]))
    assert np.isnan(known[0, 0])
    assert known[1:, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    pq.write_table(pa.table({"time": times[::-1], "mood": [1.0, 2.0, 3.0]}), tmp_path / "back.parquet")
    with pytest.raises(DataError, match="must ascend"):
        External.of(str(tmp_path / "back.parquet"), "1s")
    pq.write_table(pa.table({"when": times}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="need a column 'time'"):
        External.of(str(tmp_path / "none.parquet"), "1s")
    with pytest.raises(ConfigError, match="external_delay"):
        External.of(str(tmp_path / "mood.parquet"), "soon")


def test_a_model_with_external_columns_is_for_research_only(tmp_path: Path) -> None:
    times = MARKET.open_ms[::12] + 1
    pq.write_table(pa.table({"time": times, "mood": np.ones(len(times))}), tmp_path / "mood.parquet")
    kind = net(external=str(tmp_path / "mood.parquet"), external_delay="10m")
    rows, _ = kind.rows(MARKET)
    assert kind.features[-1] == "external:mood"
    assert rows.shape[1] == len(kind.features)
    assert "mood.parquet" in kind.research_only
    assert kind.schema_hash != net().schema_hash
    assert net().research_only == ""


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="compat is of kind published"):
        net(kind="attention", compat=True)
    with pytest.raises(ConfigError, match="option kind"):
        net(kind="transformer")
    kind = net()
    sample: Sample = build_dataset(kind, MARKET).sample
    with pytest.raises(DataError, match="100 are the least"):
        kind.prepare(sample.where(np.arange(len(sample)) < 90), sample, seed=1, threads=1)
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("tradebot.forecasters.lorentzian_fitting")]:
        monkeypatch.delitem(sys.modules, name)
    import tradebot.forecasters as package

    monkeypatch.delattr(package, "lorentzian_fitting", raising=False)
    with pytest.raises(ConfigError, match=r"needs torch: pip install 'tradebot\[deep\]'"):
        kind.prepare(sample, sample, seed=1, threads=1)


def test_a_pool_remembers_every_symbol_whatever_their_order() -> None:
    kind = net(kind="memory", memory=200, k=8)
    rng = np.random.default_rng(4)
    rows = [rng.normal(size=(900, len(kind.features))) for _ in range(2)]
    for symbol in range(2):
        rows[symbol][:, kind.features.index(kind.inputs[0])] = symbol
    markets = [made_up(rows[symbol], np.full((900, 3), 1 / 3), seed=symbol) for symbol in range(2)]
    banks = []
    for order in ((0, 1), (1, 0)):
        pool = pooled([markets[i] for i in order])
        fitted = kind.fit(kind.prepare(pool, pool, seed=3, threads=1), {"batch": 64}, rounds=1)
        assert isinstance(fitted.served.net, Memory)
        x = fitted.served.net.bank.numpy()
        assert np.unique(x[:, 0].round(3), return_counts=True)[1].tolist() == [100, 100]
        banks.append(x[np.lexsort(x.T)])
    np.testing.assert_allclose(*banks, atol=1e-6)

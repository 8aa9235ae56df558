"""The family ``bilstm``: its size, what is fitted on which rows, what it finds, and its graph."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tradebot.errors import ConfigError, DataError  # noqa: E402
from tradebot.forecasters import bilstm_fit  # noqa: E402
from tradebot.forecasters.base import Sample, Windows, as_served, family  # noqa: E402
from tradebot.forecasters.bilstm import RAW  # noqa: E402
from tradebot.forecasters.bilstm_blend import LEAST_GAIN, blend, normal_classes, ridge  # noqa: E402
from tradebot.forecasters.bilstm_fit import FIGURES_FILE, FittedBiLstm, Shape, principal  # noqa: E402
from tradebot.forecasters.bilstm_net import BiLstm  # noqa: E402
from tradebot.forecasters.nets.dropout import Dropout  # noqa: E402
from tradebot.forecasters.nets.plan import Plan  # noqa: E402
from tradebot.serving.session import open_session  # noqa: E402

SHAPE = Shape(
    hidden=8,
    layers=1,
    components=4,
    columns=(0, 1, 2, 3, 4),
    level_column=5,
    price=False,
    linear=True,
    members=1,
    threshold=0.002,
    robust=True,
    day_rows=24,
)
PLAN = Plan(epochs=6, batch=64, accumulation=2, learning_rate=5e-3, schedule="restarts", t0=10, patience=4)
EAGER = msgspec.structs.replace(PLAN, epochs=22, batch=32, accumulation=1, learning_rate=1e-2, patience=22)
STEPS = 6


def sample(kind: str, rows: int = 2400, seed: int = 0) -> Sample:
    """Windows of five features and a volatility. ``walk``: returns that nothing tells. ``last``: the return is the
    newest first feature's. ``before``: it is that of two rows ago, which no line through the newest row sees."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(rows, 6)).astype(np.float32)
    base[:, 5] = 0.003 * np.exp(0.3 * base[:, 5])
    noise = random.standard_t(5, size=rows) * np.sqrt(3 / 5)
    signal = {
        "walk": np.zeros(rows),
        "last": 0.6 * base[:, 0],
        "before": 0.9 * np.roll(base[:, 0], 2),
    }[kind]
    log_return = base[:, 5] * (0.8 * noise + signal)
    realised = np.expm1(log_return)
    base[3, 2] = np.nan
    index = np.arange(STEPS - 1, rows)
    at_ms = index.astype(np.int64) * 3_600_000
    classes = np.where(realised >= 0.002, 2, np.where(realised <= -0.002, 0, 1)).astype(np.int8)[index]
    bp = realised[index] * 1e4
    return Sample(
        rows=Windows(base, index, STEPS),
        classes=classes,
        weight=np.ones(len(index)),
        at_ms=at_ms,
        label_end_ms=at_ms + 3_600_000,
        realised_bp=bp,
        traded_bp=bp,
        past_bp=np.zeros((len(index), 5)),
    )


def split(whole: Sample) -> tuple[Sample, Sample, Sample]:
    at = np.arange(len(whole))
    return whole.where(at < 1500), whole.where((at >= 1510) & (at < 1900)), whole.where(at >= 1910)


def fitted(kind: str, shape: Shape = SHAPE, plan: Plan = PLAN, work: Path | None = None) -> tuple[FittedBiLstm, Sample]:
    train, validation, test = split(sample(kind))
    prepared = bilstm_fit.prepare(shape, train, validation, seed=plan.seed, threads=1)
    return bilstm_fit.fit(shape, prepared, {"dropout": 0.2}, plan, None, work), test


def mase(of: FittedBiLstm, test: Sample) -> float:
    said = of.predict(test.rows)[1]
    return float(np.abs(test.realised_bp - said).mean() / np.abs(test.realised_bp).mean())


def direction(of: FittedBiLstm, test: Sample) -> float:
    return float((np.sign(of.predict(test.rows)[1]) == np.sign(test.realised_bp)).mean())


@pytest.mark.parametrize(("hidden", "layers", "count"), [(128, 3, 1_029_054), (64, 1, 68_094)])
def test_the_net_has_the_published_size(hidden: int, layers: int, count: int) -> None:
    assert sum(weight.numel() for weight in BiLstm(30, hidden, layers, 0.3).parameters()) == count


def test_options_are_checked_and_shown() -> None:
    kind = family("bilstm", {"size": "small", "steps": "30", "threshold": 0.001}, "15m")
    assert (kind.interval, kind.view, kind.steps, kind.horizon_bars) == ("15m", "bars-15m", 30, 1)
    assert kind.options["steps"] == 30
    with pytest.raises(ConfigError, match="bilstm has no option 'size_of_net'; it has: size, hidden"):
        family("bilstm", {"size_of_net": 3})
    with pytest.raises(ConfigError, match="bilstm: option size"):
        family("bilstm", {"size": "huge"})
    with pytest.raises(ConfigError, match="bilstm reads 5m, 15m, 1h candles, not 4h"):
        family("bilstm", {}, "4h")


def test_price_levels_are_no_inputs_unless_compatibility_is_asked_for() -> None:
    kind = family("bilstm", {}, "1h")
    shape = kind._shape  # type: ignore[attr-defined]
    names = [kind.features[i] for i in shape.columns]
    assert len(names) >= 30
    assert not set(RAW) & set(names)
    compat = family("bilstm", {"target": "compat"}, "1h")
    assert set(RAW) <= {compat.features[i] for i in compat._shape.columns}  # type: ignore[attr-defined]
    assert compat.features[compat._shape.level_column] == "close"  # type: ignore[attr-defined]
    assert "price level" in compat.research_only  # type: ignore[attr-defined]
    assert kind.research_only == ""  # type: ignore[attr-defined]


def test_components_come_from_the_training_rows_alone() -> None:
    train, validation, _ = split(sample("last"))
    changed = replace(validation, rows=Windows(validation.rows.base.copy(), validation.rows.index, STEPS))  # type: ignore[union-attr]
    changed.rows.base[1500:] *= 7.0  # type: ignore[union-attr]
    one = bilstm_fit.prepare(SHAPE, train, validation, seed=1, threads=1)
    other = bilstm_fit.prepare(SHAPE, train, changed, seed=1, threads=1)
    for name, tensor in one.components.state_dict().items():
        assert torch.equal(tensor, other.components.state_dict()[name]), name
    assert torch.equal(one.linear.weight, other.linear.weight)
    assert not torch.equal(one.validation.base, other.validation.base)


def test_components_keep_95_percent_and_their_sign(caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(500, 8)).astype(np.float32)
    rows[:, 1] = rows[:, 0] + 0.01 * rows[:, 1]
    components, explained = principal(rows, tuple(range(8)), 2)
    assert 0.95 <= explained < 1.0
    assert len(components.bias) == 7
    heaviest = components.weight.abs().argmax(dim=0)
    assert (components.weight[heaviest, torch.arange(7)] > 0).all()
    shown = components(torch.from_numpy(rows))
    assert np.allclose(np.cov(shown.numpy(), rowvar=False), np.diag(shown.numpy().var(axis=0, ddof=1)), atol=1e-2)
    train, validation, _ = split(sample("walk"))
    bilstm_fit.prepare(replace(SHAPE, components=2), train, validation, seed=1, threads=1)
    assert "2 components keep less than 95% of the variance; 5 do" in caplog.text


def test_a_random_walk_is_left_at_no_change() -> None:
    of, test = fitted("walk")
    assert mase(of, test) < 1.002
    assert abs(direction(of, test) - 0.5) < 0.09  # two and a half deviations of 480 coins and some
    assert np.abs(of.predict(test.rows)[1]).mean() < 0.1 * np.abs(test.realised_bp).mean()


def test_a_linear_signal_is_found_by_the_blend() -> None:
    of, test = fitted("last")
    assert mase(of, test) < 0.9
    assert direction(of, test) > 0.65


def test_a_signal_that_no_line_sees_is_found_by_the_net() -> None:
    of, test = fitted("before", replace(SHAPE, linear=False, hidden=16), EAGER)
    assert mase(of, test) < 0.9
    assert direction(of, test) > 0.65
    line = of.served.linear(of.served.components(torch.from_numpy(as_served(test.rows)[:, -1]))).numpy()
    assert abs(np.corrcoef(line, test.realised_bp)[0, 1]) < 0.15


def test_the_graph_is_the_model() -> None:
    of, test = fitted("last", replace(SHAPE, members=2), Plan(epochs=1, batch=64))
    exported = of.export(test.rows)
    session = open_session(exported.onnx, where="bilstm")
    rows = as_served(test.rows)[:140].copy()
    rows[::7, :, 2] = np.nan
    rows[5] = np.nan
    p, bp = of.predict(rows)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    for batch in (1, 7):
        for i in range(0, len(rows), batch):
            said = session.run(("probabilities", "expected_bp"), {exported.input_name: rows[i : i + batch]})
            np.testing.assert_allclose(said[0], p[i : i + batch], rtol=0, atol=1e-5)
            np.testing.assert_allclose(said[1][:, 0], bp[i : i + batch], rtol=0, atol=1e-3)
    figures = msgspec.json.decode(exported.files[FIGURES_FILE])
    assert figures["best_epoch"] == of.rounds == 1
    assert figures["total_epochs"] == 2  # one of each net
    assert 0 < figures["val_mape"] <= figures["val_mape_persistence"]
    state = torch.load(io.BytesIO(exported.files["model.pt"]), weights_only=True)
    assert state["config"]["members"] == 2
    of.served.load_state_dict(state["state_dict"])


def test_the_compatible_target_forecasts_a_price() -> None:
    """Five inputs of which the last is a price: the forecast price lies where prices were, its MAPE far above that of
    no change."""
    whole = sample("walk")
    base = whole.rows.base.copy()  # type: ignore[union-attr]
    base[:, 5] = 100.0 * np.cumprod(1.0 + 0.003 * np.random.default_rng(3).normal(size=len(base)))
    close = base[:, 5].astype(np.float64)
    realised = np.append(close[1:] / close[:-1] - 1.0, 0.0)[STEPS - 1 :]
    priced = replace(whole, rows=Windows(base, whole.rows.index, STEPS), realised_bp=realised * 1e4)  # type: ignore[union-attr]
    train, validation, test = split(priced)
    shape = replace(SHAPE, columns=(0, 1, 2, 3, 4, 5), price=True, robust=False, linear=False)
    prepared = bilstm_fit.prepare(shape, train, validation, seed=1, threads=1)
    of = bilstm_fit.fit(shape, prepared, {"dropout": 0.2}, PLAN, None, None)
    p, said = of.predict(test.rows)
    price = close[test.rows.index] * (1.0 + said * 1e-4)  # type: ignore[union-attr]
    low, high = prepared.price_range or (0.0, 0.0)
    assert low == pytest.approx(close[STEPS:1507].min(), rel=0.02)
    assert np.isfinite(p).all()
    assert (price > low - (high - low)).all()
    assert (price < high + (high - low)).all()
    assert of.figures["val_mape"] > 1.2 * of.figures["val_mape_persistence"]


def test_a_stopped_fit_goes_on_to_the_same_model(tmp_path: Path) -> None:
    train, validation, test = split(sample("last"))
    shape = replace(SHAPE, members=2)
    plan = Plan(epochs=3, batch=64, learning_rate=5e-3)
    prepared = bilstm_fit.prepare(shape, train, validation, seed=7, threads=1)
    whole = bilstm_fit.fit(shape, prepared, {"dropout": 0.2}, plan, None, None)

    class Stopped(Exception):
        pass

    def stop(done: int, loss: float) -> bool:
        if done == 4:  # in the second net
            raise Stopped
        return False

    with pytest.raises(Stopped):
        bilstm_fit.fit(shape, prepared, {"dropout": 0.2}, plan, stop, tmp_path)
    again = bilstm_fit.fit(shape, prepared, {"dropout": 0.2}, plan, None, tmp_path)
    assert again.history == whole.history
    assert again.figures == whole.figures
    for one, other in zip(again.predict(test.rows), whole.predict(test.rows), strict=True):
        assert np.array_equal(one, other)


def test_too_few_rows_say_how_many_are_needed() -> None:
    train, validation, _ = split(sample("walk"))
    few = train.where(np.arange(len(train)) < 250)
    with pytest.raises(DataError, match="250 training rows are too few for bilstm, 300 are the least"):
        bilstm_fit.prepare(SHAPE, few, validation, seed=1, threads=1)


def test_the_blend_believes_what_validation_shows_and_no_more() -> None:
    random = np.random.default_rng(11)
    signal, noise = random.normal(size=3000), random.normal(size=3000)
    level = np.full(3000, 0.003)
    log_return = level * (0.3 * signal + noise)
    classes = np.where(np.expm1(log_return) >= 0.002, 2, np.where(np.expm1(log_return) <= -0.002, 0, 1)).astype(np.int8)
    useless = random.normal(size=3000)

    def chosen(nets: np.ndarray, linear: np.ndarray) -> tuple[float, float]:
        found = blend(nets, linear, level, log_return, classes, 0.002, 24)
        return found.gain, found.share

    gain, share = chosen(signal, useless)
    assert share >= 0.75
    assert 0.15 < gain < 0.4
    gain, share = chosen(useless, signal)
    assert share <= 0.25
    assert chosen(useless, random.normal(size=3000))[0] < 0.05
    assert chosen(-signal, -signal)[0] == LEAST_GAIN  # a forecast that is wrong way round is not turned
    assert blend(useless, None, level, log_return, classes, 0.002, 24).spread == pytest.approx(1.04, abs=0.08)


def test_the_ridge_is_the_closed_form() -> None:
    random = np.random.default_rng(2)
    x, weight = random.normal(size=(200, 3)), random.uniform(0.5, 2.0, 200)
    y = x @ [1.0, -2.0, 0.0] + 5.0
    beta, intercept = ridge(x, y, weight, 1e-9)
    np.testing.assert_allclose(beta, [1.0, -2.0, 0.0], atol=1e-6)
    assert intercept == pytest.approx(5.0)
    assert np.abs(ridge(x, y, weight, 10.0)[0]).max() < 0.3


def test_class_probabilities_are_those_of_a_normal_distribution() -> None:
    draws = 0.001 + 0.004 * np.random.default_rng(1).normal(size=400_000)
    seen = [np.mean(np.expm1(draws) <= -0.002), 0, np.mean(np.expm1(draws) >= 0.002)]
    seen[1] = 1 - seen[0] - seen[2]
    np.testing.assert_allclose(normal_classes(np.array([0.001]), np.array([0.004]), 0.002)[0], seen, atol=3e-3)


def test_dropout_drops_its_share_repeatably_and_nothing_in_eval() -> None:
    layer = Dropout(0.3)
    x = torch.ones(200, 500)
    torch.manual_seed(1)
    one = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), one)
    assert not torch.equal(layer(x), one)
    assert float((one == 0).float().mean()) == pytest.approx(77 / 256, abs=0.005)
    assert float(one.mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(layer.eval()(x), x)

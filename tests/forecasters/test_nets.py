"""The training loop, the scaler and the export that every net shares."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tradebot.errors import BusyError, ConfigError, DataError  # noqa: E402
from tradebot.forecasters.base import Windows  # noqa: E402
from tradebot.forecasters.nets import checkpoint  # noqa: E402
from tradebot.forecasters.nets.device import at_home, chosen_device  # noqa: E402
from tradebot.forecasters.nets.export import INPUT, run, to_onnx  # noqa: E402
from tradebot.forecasters.nets.loop import Trained, fit_net, seeded  # noqa: E402
from tradebot.forecasters.nets.plan import Plan  # noqa: E402
from tradebot.forecasters.nets.rows import Resident, resident  # noqa: E402
from tradebot.forecasters.nets.scaling import Scaler  # noqa: E402
from tradebot.serving.session import open_session  # noqa: E402

PLAN = Plan(epochs=6, batch=16, accumulation=2, learning_rate=3e-3, schedule="restarts", t0=2, warmup_steps=3)


def squared(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output[:, 0] - target) ** 2


def data(rows: int = 203, seed: int = 0) -> tuple[Resident, Resident]:
    """A curved signal in noise; the number of rows is no multiple of any batch."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 5)).astype(np.float32)
    y = np.tanh(x[:, 0]) + 0.5 * x[:, 1] + 0.1 * random.normal(size=rows)
    weight = random.uniform(0.5, 1.5, rows)
    return resident(x[:150], y[:150], weight[:150]), resident(x[150:], y[150:], weight[150:])


def net(seed: int = 1) -> nn.Module:
    return seeded(seed, lambda: nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)))


def weights(of: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in of.state_dict().values())


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_run_taken_up_again_ends_with_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    train, validation = data()
    whole = net()
    expected = fit_net(whole, train, validation, squared, PLAN)

    def stop(done: int, loss: float) -> bool:
        if done == stop_at:
            raise Stopped
        return False

    with pytest.raises(Stopped):
        fit_net(net(), train, validation, squared, PLAN, work=tmp_path, on_round=stop)
    torch.manual_seed(12345)  # what happened to the process's random numbers in between does not matter
    heard: list[int] = []

    def hear(done: int, loss: float) -> bool:
        heard.append(done)
        return False

    again = net()
    assert fit_net(again, train, validation, squared, PLAN, work=tmp_path, on_round=hear) == expected
    assert heard == list(range(stop_at + 1, PLAN.epochs + 1))
    assert weights(again) == weights(whole)


def test_more_epochs_extend_a_run_that_had_ended(tmp_path: Path) -> None:
    train, validation = data()
    longer = Plan(**{**_fields(PLAN), "epochs": 11})
    whole = net()
    expected = fit_net(whole, train, validation, squared, longer)
    fit_net(net(), train, validation, squared, PLAN, work=tmp_path)
    extended = net()
    assert fit_net(extended, train, validation, squared, longer, work=tmp_path) == expected
    assert weights(extended) == weights(whole)


def test_a_checkpoint_of_other_rows_or_settings_is_not_used(tmp_path: Path) -> None:
    train, validation = data()
    fit_net(net(), train, validation, squared, PLAN, work=tmp_path)
    other = data(seed=9)
    fresh = net()
    expected = fit_net(fresh, *other, squared, PLAN)
    reused = net()
    assert fit_net(reused, *other, squared, PLAN, work=tmp_path) == expected
    assert weights(reused) == weights(fresh)


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.ckpt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(DataError, match=r"net\.ckpt: is no checkpoint"):
        fit_net(net(), *data(), squared, PLAN, work=tmp_path)


def test_the_best_weights_are_restored_and_patience_ends_the_run() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(64, 5)).astype(np.float32)
    noise = random.normal(size=64)
    train = resident(x[:40], noise[:40], np.ones(40))
    validation = resident(x[40:], noise[40:], np.ones(24))
    plan = Plan(epochs=200, batch=8, learning_rate=0.02, patience=7)
    fitted = net()
    result = fit_net(fitted, train, validation, squared, plan)
    losses = [past.validation_loss for past in result.history]
    assert len(losses) == result.epochs + 7 < 200
    assert result.loss == min(losses) == losses[result.epochs - 1]
    with torch.inference_mode():
        again = float(squared(fitted(validation.base), validation.target).mean())
    assert again == pytest.approx(result.loss, rel=1e-6)
    assert losses[-1] > result.loss


@pytest.mark.parametrize(("batch", "accumulation"), [(16, 4), (7, 10), (64, 1)])
def test_a_step_is_the_weighted_mean_of_its_rows_however_it_is_cut(batch: int, accumulation: int) -> None:
    train, validation = data()
    few = Resident(train.base, train.index[:61], 1, train.target[:61], train.weight[:61], train.reach)

    def linear() -> nn.Module:
        return seeded(5, lambda: nn.Linear(5, 1))

    one, cut = linear(), linear()
    plan = Plan(epochs=1, batch=61, accumulation=1, clip=0.0, optimiser="adam")
    fit_net(one, few, validation, squared, plan)
    fit_net(cut, few, validation, squared, Plan(**{**_fields(plan), "batch": batch, "accumulation": accumulation}))
    np.testing.assert_allclose(cut.weight.detach().numpy(), one.weight.detach().numpy(), rtol=0, atol=1e-6)


def test_the_remainder_of_an_epoch_is_a_step_of_full_size() -> None:
    """70 equal rows in steps of 64: the six that are left pull as hard as the sixty-four did."""
    rows = resident(np.ones((70, 1), np.float32), np.full(70, 100.0), np.ones(70))
    taken: list[float] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.zeros(1))
            self.level.register_hook(lambda grad: taken.append(float(grad)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.level

    fit_net(Watched(), rows, rows, squared, Plan(epochs=1, batch=16, accumulation=4, clip=0.0, learning_rate=1e-6))
    # hooks hear each batch's share of its step: four quarters, then the six rows whole
    assert taken[:4] == pytest.approx([-50.0] * 4, rel=1e-4)
    assert taken[4:] == pytest.approx([-200.0], rel=1e-4)


def test_a_loss_that_is_no_number_says_what_to_lower() -> None:
    train, validation = data()
    plan = Plan(epochs=50, batch=16, learning_rate=1e30, clip=0.0)
    with pytest.raises(DataError, match=r"no number any more in epoch \d+.*lower the learning rate \(1e\+30\)"):
        fit_net(net(), train, validation, squared, plan)


@pytest.mark.parametrize("clip", [0.5, 2.0])
def test_clipping_bounds_the_step(tmp_path: Path, clip: float) -> None:
    train, validation = data()
    huge = Resident(train.base, train.index, 1, train.target * 1e6, train.weight, train.reach)
    fit_net(net(), huge, validation, squared, Plan(epochs=1, batch=150, clip=clip), work=tmp_path)
    saved = torch.load(tmp_path / "net.ckpt", weights_only=True)["optimiser"]["state"].values()
    # after one step, Adam's first moment is a tenth of the gradient it was given
    norm = 10.0 * math.sqrt(sum(float((one["exp_avg"] ** 2).sum()) for one in saved))
    assert norm == pytest.approx(clip, rel=1e-3)


def test_memory_that_does_not_suffice_says_what_to_lower() -> None:
    said = "out of memory on cpu with batches of 32 rows: lower --batch-size"
    with pytest.raises(BusyError, match=said), at_home(Plan(), torch.device("cpu")):
        torch.empty(1 << 60)


def test_cuda_that_is_not_there_is_a_config_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        chosen_device("cuda")
    assert chosen_device("auto").type == "cpu"


def test_threads_and_random_numbers_of_the_caller_are_left_alone() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    fit_net(net(), *data(), squared, Plan(epochs=1, threads=threads + 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_bfloat16_learns_too() -> None:
    train, validation = data()
    full = fit_net(net(), train, validation, squared, Plan(epochs=10, batch=16, learning_rate=1e-2))
    half = fit_net(
        net(), train, validation, squared, Plan(epochs=10, batch=16, learning_rate=1e-2, precision="bfloat16")
    )
    assert half.loss != full.loss
    assert half.loss == pytest.approx(full.loss, rel=0.2)


class Served(nn.Module):
    """A net as it is served, scaler inside."""

    def __init__(self, scaler: Scaler) -> None:
        super().__init__()
        self.scaler = scaler
        self.lstm = nn.LSTM(3, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 4)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.head(self.lstm(self.scaler(rows))[0][:, -1])
        return torch.softmax(out[:, :3], dim=1), out[:, 3:]


def windows(rows: int = 80) -> Windows:
    random = np.random.default_rng(2)
    base = (random.normal(size=(rows, 4)) * [1, 100, 1e-3, 1] + [0, 5e4, 0, 0]).astype(np.float32)
    base[5, 1] = base[9, 2] = np.nan
    return Windows(base, np.arange(11, rows), 12)


def test_the_graph_is_the_net_with_missing_values_and_any_batch() -> None:
    inputs = windows()
    served = seeded(3, lambda: Served(Scaler([0, 1, 2]).fit(inputs.base)))
    content = to_onnx(served, inputs)
    holed = inputs.array()
    holed[::3, :, 1] = np.nan
    holed[4] = np.nan
    holed[6, 2, 0] = np.inf
    p, bp = run(served, holed)
    assert np.isfinite(p).all()
    assert np.isfinite(bp).all()
    session = open_session(content, where="test")
    for batch in (1, 7):
        for i in range(0, len(holed), batch):
            got_p, got_bp = session.run(("probabilities", "expected_bp"), {INPUT: holed[i : i + batch]})
            np.testing.assert_allclose(got_p, p[i : i + batch], rtol=0, atol=1e-6)
            np.testing.assert_allclose(got_bp[:, 0], bp[i : i + batch], rtol=0, atol=1e-6)


def test_equal_nets_give_equal_bytes_without_paths_of_this_machine() -> None:
    inputs = windows()
    made = [to_onnx(seeded(3, lambda: Served(Scaler([0, 1, 2]).fit(inputs.base))), inputs) for _ in range(2)]
    assert made[0] == made[1]
    assert b".py" not in made[0]


def test_scaling_takes_medians_for_what_is_missing_and_bounds_what_is_far() -> None:
    rows = np.array([[1, 7, np.nan], [2, 7, np.nan], [3, 7, np.nan], [np.nan, 7, np.nan], [10, 7, np.nan]], np.float32)
    scaler = Scaler([0, 1, 2], farthest=2.0).fit(rows)
    shown = scaler(torch.tensor([[np.nan, np.nan, np.nan], [4.0, 7.0, 5.0], [1e9, 8.0, 0.0]])).numpy()
    deviation = np.std([1, 2, 3, 10])
    assert shown[0] == pytest.approx([(2.5 - 4) / deviation, 0, 0])
    assert shown[1] == pytest.approx([0, 0, 2.0])
    assert shown[2, 0] == 2.0
    assert np.isfinite(shown).all()


def test_a_packed_net_is_read_without_running_anything() -> None:
    content = checkpoint.packed(net(), {"hidden": 16})
    state = torch.load(io.BytesIO(content), weights_only=True)
    assert state["config"] == {"hidden": 16}
    assert {"0.weight", "3.bias"} <= set(state["state_dict"])
    assert content == checkpoint.packed(net(), {"hidden": 16})


def test_two_runs_of_one_seed_agree_and_another_seed_does_not() -> None:
    train, validation = data()
    results: list[Trained] = [
        fit_net(net(), train, validation, squared, Plan(**{**_fields(PLAN), "seed": s})) for s in (1, 1, 2)
    ]
    assert results[0] == results[1]
    assert results[0] != results[2]


def _fields(plan: Plan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}

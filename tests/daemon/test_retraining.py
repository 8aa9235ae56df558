"""Retraining by the bot's clock: a real queue and a real store; the test plays the runner."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.eventually import eventually, turns
from tests.jobs.test_queue import result
from tests.registry.tiny_model import graph, manifest
from tests.serving.views_model import plant
from tradebot.daemon.retraining import POLL_MS, Retrainer, RetrainPlan
from tradebot.events import Event, ModelSwapped, RetrainEnded
from tradebot.features.catalogue import SCHEMA_HASH
from tradebot.jobs import JobQueue, RestSource
from tradebot.registry import ModelStore
from tradebot.serving import Serving
from tradebot.settings import Settings
from tradebot.shell.clock import PacedClock

HOUR = 3_600_000
T0 = 1_760_000_400_000
LANDING = 600_000
SYMBOLS = ("SOLUSDT", "BTCUSDT")


class Rig:
    def __init__(self, folder: Path, *, paced: bool = True, symbols: tuple[str, ...] = SYMBOLS, **plan: Any) -> None:
        self.clock = PacedClock()
        self.clock.advance(T0)
        self.queue = JobQueue(folder / "jobs")
        self.store = ModelStore(folder / "models")
        self.serving = Serving(allow_provisional=False)
        self.events: list[Event] = []
        fields: dict[str, Any] = {
            "model": "tiny",
            "interval": "5m",
            "every_ms": HOUR,
            "days": 30,
            "trials": 2,
            "rounds": 10,
            "threads": 1,
            "seed": 7,
            "landing_ms": LANDING,
            "source": RestSource(url="http://127.0.0.1:1"),
            "store": str(folder / "models"),
            "allow_provisional": False,
            "spawn": False,
            "enabled": True,
            "cooldown_ms": 600_000,
        }
        self.retrainer = Retrainer(
            RetrainPlan(**{**fields, **plan}),
            symbols,
            self.queue,
            self.store,
            self.serving,
            self.clock,
            self.events.append,
            lambda symbol: D("0.0005"),
            paced=paced,
        )
        self.retrainer.start()

    async def tick_at(self, ts_ms: int) -> None:
        self.clock.advance(ts_ms)
        await self.retrainer.tick()

    def asked(self) -> list[tuple[str, int]]:
        jobs = [self.queue.job(name) for name in self.queue.ids("pending")]
        return sorted((job.symbol, job.as_of_ms) for job in jobs)

    def train(self, shift: float = 0.0, verdict: str = "promoted", *, schema: str = SCHEMA_HASH) -> str:
        """What a runner does: take the oldest job, store a version, move the pointer, say so. Returns the job's id."""
        with self.claimed() as claim:
            if verdict == "promoted":
                self.promote(claim.job.symbol, self.add(claim.job.symbol, shift, schema), at_ms=claim.job.as_of_ms)
            claim.finish(result(claim.job, verdict))
            return str(claim.job.id)

    @contextmanager
    def claimed(self) -> Iterator[Any]:
        claim = self.queue.claim()
        assert claim is not None
        with claim:
            yield claim

    def add(self, symbol: str, shift: float, schema: str = SCHEMA_HASH, verdict: Any = "promoted") -> str:
        model = graph(shift)
        made = manifest(model, symbol=symbol, schema_hash=schema, verdict=verdict)
        return self.store.add(made, {"model.onnx": model})

    def promote(self, symbol: str, version: str, at_ms: int = T0) -> None:
        key = self.retrainer.key(symbol)
        self.store.promote(key, version, who="tester", why="because", verdict="promoted", at_ms=at_ms)

    def swaps(self) -> list[tuple[str, str]]:
        return [(e.ref.symbol, e.ref.version) for e in self.events if isinstance(e, ModelSwapped)]


async def test_the_first_retrain_is_one_interval_after_the_start_and_the_next_ones_follow_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert rig.retrainer.next_due_ms() == T0 + HOUR
    await rig.tick_at(T0 + HOUR - 1)
    assert rig.asked() == []
    await rig.tick_at(T0 + HOUR)
    assert rig.asked() == [("BTCUSDT", T0 + HOUR), ("SOLUSDT", T0 + HOUR)]
    assert rig.retrainer.next_due_ms() == T0 + HOUR + LANDING
    await rig.tick_at(T0 + HOUR)
    assert len(rig.retrainer.waiting()) == 2
    job = rig.queue.job(rig.queue.ids("pending")[0])
    assert (job.declared_ms, job.days, job.costs.fee_bp) == (LANDING, 30, 5.0)


async def test_fires_that_were_slept_through_are_one_on_the_candles_of_the_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path, paced=False, symbols=("SOLUSDT",))
    await rig.tick_at(T0 + 3 * HOUR + 5)
    assert rig.asked() == [("SOLUSDT", T0 + HOUR)]
    await rig.tick_at(T0 + 4 * HOUR + 4)
    assert len(rig.asked()) == 1
    await rig.tick_at(T0 + 4 * HOUR + 5)
    assert rig.asked()[1:] == [("SOLUSDT", T0 + 4 * HOUR + 5)]


async def test_a_plan_that_is_off_asks_only_when_someone_asks(tmp_path: Path) -> None:
    rig = Rig(tmp_path, enabled=False)
    await rig.tick_at(T0 + 10 * HOUR)
    assert rig.asked() == []
    assert rig.retrainer.next_due_ms() is None
    await rig.retrainer.request(T0, ["BTCUSDT"])
    assert rig.asked() == [("BTCUSDT", T0)]
    assert rig.retrainer.next_due_ms() == T0 + LANDING


def test_no_model_is_trained_for_a_strategy_that_asks_none() -> None:
    assert RetrainPlan.of(Settings()).enabled
    assert not RetrainPlan.of(Settings(), wanted=False).enabled


async def test_a_result_that_is_early_lands_exactly_when_it_was_declared_to(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.retrainer.request(T0, ["SOLUSDT"])
    name = rig.train()
    await rig.tick_at(T0 + LANDING - 1)
    assert rig.events == []
    await rig.tick_at(T0 + LANDING)
    ended, swapped = rig.events
    assert isinstance(ended, RetrainEnded)
    assert (ended.job_id, ended.symbol, ended.verdict) == (name, "SOLUSDT", "promoted")
    assert isinstance(swapped, ModelSwapped)
    assert (swapped.ref.symbol, swapped.ref.version) == ("SOLUSDT", "v0001")
    assert rig.serving.ref("SOLUSDT", "tiny") == swapped.ref
    assert rig.retrainer.waiting() == []


async def test_the_paced_exchange_waits_for_a_result_that_is_late(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.retrainer.request(T0, ["SOLUSDT"])
    landing = asyncio.create_task(rig.tick_at(T0 + LANDING))
    await turns()
    assert not landing.done()
    rig.train()
    await asyncio.wait_for(landing, 10)
    assert rig.swaps() == [("SOLUSDT", "v0001")]


async def test_results_land_in_the_order_of_their_names_whichever_was_ready_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.retrainer.request(T0)
    rig.train()
    rig.train(0.5)
    await rig.tick_at(T0 + LANDING)
    assert rig.swaps() == [("BTCUSDT", "v0001"), ("SOLUSDT", "v0001")]


async def test_live_a_result_lands_when_it_is_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path, paced=False)
    await rig.retrainer.request(T0, ["SOLUSDT"])
    await rig.tick_at(T0 + LANDING + 1)
    assert rig.events == []
    rig.train()
    await rig.tick_at(T0 + LANDING + 2)
    assert rig.swaps() == [("SOLUSDT", "v0001")]


@pytest.mark.parametrize(("verdict", "told"), [("refused", "refused"), ("failed", "failed"), ("cancelled", "failed")])
async def test_a_verdict_that_promotes_nothing_is_told_and_swaps_nothing(
    tmp_path: Path, verdict: str, told: str
) -> None:
    rig = Rig(tmp_path)
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.0))
    await rig.retrainer.request(T0, ["SOLUSDT"])
    rig.train(verdict=verdict)
    await rig.tick_at(T0 + LANDING)
    (ended,) = rig.events
    assert isinstance(ended, RetrainEnded)
    assert ended.verdict == told
    assert rig.serving.ref("SOLUSDT", "tiny") is None


async def test_live_a_pointer_that_somebody_moved_is_followed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, paced=False, enabled=False)
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.0))
    await rig.retrainer.load_champions()
    await rig.tick_at(T0)
    assert rig.swaps() == [("SOLUSDT", "v0001")]
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.5))
    await rig.tick_at(T0 + POLL_MS - 1)
    assert len(rig.swaps()) == 1
    await rig.tick_at(T0 + POLL_MS)
    assert rig.swaps() == [("SOLUSDT", "v0001"), ("SOLUSDT", "v0002")]
    last = rig.events[-1]
    assert isinstance(last, ModelSwapped)
    assert last.reason == "tester: because"
    await rig.tick_at(T0 + 5 * POLL_MS)
    assert len(rig.swaps()) == 2


@pytest.mark.parametrize("odd", [{"schema": "0" * 16}, {"verdict": "provisional"}])
async def test_a_version_that_cannot_serve_is_tried_once_and_the_next_one_again(
    tmp_path: Path, odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, paced=False, enabled=False)
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.0))
    await rig.retrainer.load_champions()
    loads: list[str] = []
    real = rig.store.load

    def load(key: Any, *args: Any, **options: Any) -> Any:
        loads.append(key.symbol)
        return real(key, *args, **options)

    monkeypatch.setattr(rig.store, "load", load)
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.5, **odd))
    for n in range(1, 5):
        await rig.tick_at(T0 + n * POLL_MS)
    assert loads == ["SOLUSDT"]
    served = rig.serving.ref("SOLUSDT", "tiny")
    assert served is not None
    assert served.version == "v0001"
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.9))
    await rig.tick_at(T0 + 9 * POLL_MS)
    assert rig.swaps() == [("SOLUSDT", "v0001"), ("SOLUSDT", "v0003")]


async def test_only_symbols_that_nothing_serves_are_asked_for_at_the_start(tmp_path: Path) -> None:
    rig = Rig(tmp_path, paced=False)
    rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.0))
    await rig.retrainer.load_champions()
    await rig.retrainer.request_missing()
    assert rig.asked() == [("BTCUSDT", T0)]


async def test_champions_of_every_model_that_serves_are_followed_and_one_is_trained(tmp_path: Path) -> None:
    rig = Rig(tmp_path, paced=False, symbols=("SOLUSDT",), serve=("other", "tiny"))

    def add(name: str, shift: float) -> None:
        model = graph(shift)
        made = msgspec.structs.replace(manifest(model, schema_hash=SCHEMA_HASH), name=name)
        version = rig.store.add(made, {"model.onnx": model})
        key = rig.retrainer.key("SOLUSDT", name)
        rig.store.promote(key, version, who="tester", why="because", verdict="promoted", at_ms=T0)

    add("tiny", 0.1)
    add("other", 0.2)
    await rig.retrainer.load_champions()
    served = [(e.ref.name, e.ref.version) for e in rig.events if isinstance(e, ModelSwapped)]
    assert served == [("other", "v0001"), ("tiny", "v0001")]
    add("other", 0.3)
    await rig.tick_at(T0 + POLL_MS)
    swapped = rig.events[-1]
    assert isinstance(swapped, ModelSwapped)
    assert (swapped.ref.name, swapped.ref.version) == ("other", "v0002")
    assert rig.serving.ref("SOLUSDT", "tiny") != rig.serving.ref("SOLUSDT", "other")
    await rig.retrainer.request(T0)
    assert [rig.queue.job(name).model for name in rig.queue.ids("pending")] == ["tiny"]


async def test_every_family_is_trained_again_with_its_own_options_and_served_under_its_name(tmp_path: Path) -> None:
    options = {"tiny": {"horizon": 3}, "bilstm-1h": {"hidden": 32}}
    rig = Rig(tmp_path, symbols=("SOLUSDT",), train=("tiny", "bilstm-1h"), serve=("bilstm-1h", "tiny"), options=options)
    await rig.tick_at(T0 + HOUR)
    jobs = sorted((rig.queue.job(name) for name in rig.queue.ids("pending")), key=lambda job: job.model)
    assert [(j.model, j.interval, j.options, j.cooldown_rows) for j in jobs] == [
        ("bilstm", "1h", {"hidden": 32}, 0),
        ("tiny", "5m", {"horizon": 3}, 2),
    ]
    made: dict[str, str] = {}
    for _ in jobs:
        with rig.claimed() as claim:
            if claim.job.model == "bilstm":
                made["bilstm-1h"] = plant(rig.store, "bilstm", "bars-1h", steps=60).sha256
            else:
                rig.promote("SOLUSDT", rig.add("SOLUSDT", 0.1))
            claim.finish(result(claim.job, "promoted"))
    await rig.tick_at(T0 + HOUR + LANDING)
    refs = {e.ref.name: e.ref for e in rig.events if isinstance(e, ModelSwapped)}
    assert set(refs) == {"tiny", "bilstm-1h"}
    slow = refs["bilstm-1h"]
    assert (slow.view, slow.interval, slow.steps, slow.sha256) == ("bars-1h", "1h", 60, made["bilstm-1h"])
    assert rig.serving.ref("SOLUSDT", "bilstm-1h") == slow
    assert {e.model for e in rig.events if isinstance(e, RetrainEnded)} == {"tiny", "bilstm-1h"}
    await rig.retrainer.load_champions()
    assert [e.ref.name for e in rig.events if isinstance(e, ModelSwapped)][-2:] == ["bilstm-1h", "tiny"]


def test_which_candles_the_models_of_the_settings_read_is_logged_at_the_start(tmp_path: Path) -> None:
    with capture_logs() as said:
        Rig(tmp_path, train=("tiny", "bilstm"), serve=("bilstm-15m",))
        Rig(tmp_path, enabled=False)
    assert [(one["serve"], one["train"]) for one in said if one["event"] == "models"] == [
        (["bilstm-15m"], ["tiny-5m", "bilstm-1h"]),
        (["tiny-5m"], []),
    ]


@pytest.mark.parametrize("quiet", [{"paced": True}, {"paced": False, "enabled": False}])
async def test_nothing_is_asked_for_at_the_start_of_a_bot_that_does_not_retrain_or_is_waited_for(
    tmp_path: Path, quiet: dict[str, bool]
) -> None:
    rig = Rig(tmp_path, **quiet)
    await rig.retrainer.request_missing()
    assert rig.asked() == []


async def test_a_runner_of_ours_is_started_again_when_it_dies_and_ends_with_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[asyncio.subprocess.Process] = []

    async def short_lived(queue: JobQueue, threads: int) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec("sleep", "0" if not started else "60")
        started.append(process)
        return process

    monkeypatch.setattr("tradebot.daemon.retraining.start_runner", short_lived)
    rig = Rig(tmp_path, spawn=True)
    await rig.retrainer.request(T0, ["SOLUSDT"])
    landing = asyncio.create_task(rig.tick_at(T0 + LANDING))
    await eventually(lambda: len(started) == 2)
    rig.train()
    await asyncio.wait_for(landing, 10)
    await rig.retrainer.close()
    assert started[1].returncode is not None
    assert rig.swaps() == [("SOLUSDT", "v0001")]

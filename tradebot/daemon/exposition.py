"""The metrics endpoint: ``/metrics`` for Prometheus, ``/livez`` and ``/readyz`` for whoever supervises the bot."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

import tradebot
from tradebot.daemon.condition import ailments, obstacles
from tradebot.daemon.metrics import DURATIONS, METRICS
from tradebot.errors import BusyError, ConfigError
from tradebot.exchange.bitget.latency import EDGES_MS, Latency

if TYPE_CHECKING:
    from tradebot.daemon.app import Daemon

HOST = "127.0.0.1"
PREFIX = "tradebot_"


class DaemonCollector(Collector):
    """Reads the daemon's counters when they are asked for."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Family]:
        info = GaugeMetricFamily(f"{PREFIX}info", "Which bot this is.", labels=("version", "mode"))
        info.add_metric((tradebot.__version__, self._daemon.settings.mode), 1.0)
        yield info
        for metric in METRICS:
            family: CounterMetricFamily | GaugeMetricFamily
            labels = (metric.label,) if metric.label else ()
            if metric.kind == "counter":
                family = CounterMetricFamily(PREFIX + metric.name, metric.text, labels=labels)
            else:
                family = GaugeMetricFamily(PREFIX + metric.name, metric.text, labels=labels)
            value = metric.read(self._daemon)
            if isinstance(value, Mapping):
                for label, number in value.items():
                    family.add_metric((label,), number)
            else:
                family.add_metric((), value)
            yield family
        for durations in DURATIONS:
            yield _histogram(PREFIX + durations.name, durations.text, durations.read(self._daemon))


def _histogram(name: str, text: str, latency: Latency) -> HistogramMetricFamily:
    buckets, seen = [], 0
    for edge_ms, count in zip(EDGES_MS, latency.buckets, strict=False):
        seen += count
        buckets.append((f"{edge_ms / 1_000:g}", float(seen)))
    buckets.append(("+Inf", float(latency.count)))
    family = HistogramMetricFamily(name, text)
    family.add_metric((), buckets, latency.total / 1_000)
    return family


class MetricsEndpoint:
    """Serves on loopback only. ``port`` 0 takes any free one, which :attr:`port` then is."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self._daemon = daemon
        self.port = port
        self._registry = CollectorRegistry()
        self._registry.register(DaemonCollector(daemon))
        ProcessCollector(registry=self._registry)
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Begin to serve. Raises BusyError when the port is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._state(ailments))
        app.router.add_get("/readyz", self._state(obstacles))
        runner = self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self.port).start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BusyError(f"metrics.port: {HOST}:{self.port} is in use; choose another port, or null") from error
            raise ConfigError(f"metrics.port: cannot listen on {HOST}:{self.port}: {error.strerror}") from error
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _state(self, reasons: Callable[[Daemon], list[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            found = reasons(self._daemon)
            body = msgspec.json.encode({"ok": not found, "reasons": found})
            return web.Response(status=503 if found else 200, body=body, content_type="application/json")

        return answer

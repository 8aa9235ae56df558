"""What the daemon measures about itself, in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_LATENCY_S = (0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The daemon's instruments in a registry of their own, so that two daemons in a test do not meet.

    Times are seconds and money is USDT, as Prometheus's naming asks.
    """

    def __init__(self, mode: str) -> None:
        """``mode`` becomes a label of ``tradebot_up``."""
        self.registry = CollectorRegistry()
        histogram, counter, gauge = self._histogram, self._counter, self._gauge
        self.tick_to_decision = histogram(
            "tick_to_decision_seconds", "From receiving market data to the decision on it"
        )
        self.forecast = histogram("forecast_seconds", "From asking for a forecast to having it", "model")
        self.order_answer = histogram("order_answer_seconds", "From sending an order to the exchange's answer")
        self.journal_sync = histogram("journal_sync_seconds", "Making the journal durable before an order")
        self.loop_lag = histogram("loop_lag_seconds", "How much later than asked the event loop woke up")
        self.events = counter("events_total", "Events consumed by the engine", "type")
        self.decisions = counter("decisions_total", "Decisions by what risk made of them", "symbol", "verdict")
        self.orders = counter("orders_total", "Commands sent to the exchange, by what became of them", "outcome")
        self.fills = counter("fills_total", "Executions", "symbol")
        self.late_forecasts = counter("late_forecasts_total", "Forecasts that came after their deadline", "symbol")
        self.dropped_events = counter("dropped_events_total", "Events lost before the engine: always 0")
        self.reconnects = counter("reconnects_total", "Stream connections that had to be made again", "stream")
        self.resyncs = counter("resyncs_total", "Books that had to be fetched again", "symbol")
        self.alerts = counter("alerts_total", "Alerts raised", "severity")
        self.feed_age = gauge("feed_age_seconds", "Age of the newest market data", "symbol")
        self.clock_offset = gauge("clock_offset_seconds", "Exchange clock minus ours, before correction")
        self.equity = gauge("equity_usdt", "Account equity with unrealised profit")
        self.exposure = gauge("exposure_usdt", "Notional of open positions at mark", "symbol")
        self.realised_pnl = gauge("realised_pnl_usdt", "Realised profit of this run, net of fees and funding")
        self.model_age = gauge("model_age_seconds", "Time since the serving model was trained", "symbol")
        self.ledger_lag = gauge("ledger_lag_records", "Journal records the ledger has yet to take in")
        self.halted = gauge("halted", "1 while entries are halted")
        self.jobs = gauge("jobs", "Training jobs by state", "state")
        self._gauge("up", "1 while the daemon runs", "mode").labels(mode).set(1)

    def render(self) -> bytes:
        """The current values as the body of ``/metrics``; its media type is ``CONTENT_TYPE``."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"tradebot_{name}", text, labels, registry=self.registry, buckets=_LATENCY_S)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tradebot_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"tradebot_{name}", text, labels, registry=self.registry)

"""What /metrics shows."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tradebot.ops.metrics import CONTENT_TYPE, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_what_was_measured_is_rendered_in_the_text_format() -> None:
    metrics = Metrics("paper")
    metrics.tick_to_decision.observe(0.0004)
    metrics.decisions.labels("BTCUSDT", "block").inc(2)
    metrics.feed_age.labels("BTCUSDT").set(0.25)
    metrics.equity.set(9_999.5)
    found = samples(metrics)
    assert found["tradebot_up", (("mode", "paper"),)] == 1
    assert found["tradebot_tick_to_decision_seconds_bucket", (("le", "0.00025"),)] == 0
    assert found["tradebot_tick_to_decision_seconds_bucket", (("le", "0.0005"),)] == 1
    assert found["tradebot_decisions_total", (("symbol", "BTCUSDT"), ("verdict", "block"))] == 2
    assert found["tradebot_feed_age_seconds", (("symbol", "BTCUSDT"),)] == 0.25
    assert found["tradebot_equity_usdt", ()] == 9_999.5
    assert found["tradebot_dropped_events_total", ()] == 0
    assert CONTENT_TYPE.startswith("text/plain")


def test_two_daemons_in_one_process_do_not_share_numbers() -> None:
    one, two = Metrics("demo"), Metrics("demo")
    one.equity.set(1)
    assert samples(two)["tradebot_equity_usdt", ()] == 0

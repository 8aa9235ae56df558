"""A run's report: what it says follows from the run, and the page needs nothing but itself."""

from __future__ import annotations

import doctest
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.backtest.report.planted import CASH, FEE, HALF_SPREAD, START_MS, plant
from tradebot.backtest.report import REPORT_HTML, REPORT_JSON, Report, report_of, write_report
from tradebot.backtest.report import charts as charts_module
from tradebot.backtest.report import words as words_module
from tradebot.backtest.report.documents import (
    STRESSES,
    TRIALS,
    Stresses,
    StressRow,
    Trials,
    read_beside,
    write_beside,
)
from tradebot.backtest.run import TRADES, RunFolder
from tradebot.errors import DataError
from tradebot.evaluation.headline import METRICS
from tradebot.market.candle import DAY_MS

DRAWS = 200


@pytest.fixture(scope="module")
def skilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("runs") / "skilled", days=70, skill=0.4)


@pytest.fixture(scope="module")
def report(skilled: Path) -> Report:
    return write_report(skilled, draws=DRAWS)


@pytest.mark.parametrize("module", [charts_module, words_module], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


def test_the_figures_are_those_of_the_curve_and_the_closed_trades(skilled: Path, report: Report) -> None:
    curve, trades = RunFolder(skilled).equity(), RunFolder(skilled).trades()
    closed = trades.closed_ms > 0
    assert report.headline.value("roi") == pytest.approx(curve.equity[-1] / CASH - 1)
    assert report.headline.value("win_rate") == pytest.approx((trades.net[closed] > 0).mean())
    assert report.headline.trades == closed.sum()
    assert report.open_trades == 2
    assert report.headline.insufficient == ()
    assert report.days[-1].equity == pytest.approx(curve.equity[-1])
    assert np.prod([1 + day.roi for day in report.days]) == pytest.approx(curve.equity[-1] / CASH)


def test_costs_add_up_and_slippage_is_what_lay_between_mid_and_fill(skilled: Path, report: Report) -> None:
    trades, costs = RunFolder(skilled).trades(), report.costs
    assert costs.net == pytest.approx(trades.net.sum())
    assert costs.at_mid + costs.slippage + costs.fees + costs.funding == pytest.approx(costs.net)
    assert costs.cost_bp == pytest.approx((FEE + HALF_SPREAD) * 1e4, rel=1e-3)
    assert costs.unmeasured == 0
    assert costs.break_even_bp == pytest.approx(costs.at_mid / costs.turnover * 1e4)


def test_groups_and_months_add_up_to_the_whole(report: Report) -> None:
    for groups in (report.by_symbol, report.by_side, report.by_end, report.by_model):
        assert sum(group.trades for group in groups) == report.headline.trades
    total = sum(group.net for group in report.by_symbol)
    assert sum(group.net for group in report.by_side) == pytest.approx(total)
    assert sum(month.net for month in report.months) == pytest.approx(total)
    assert [month.name for month in report.months] == ["2026-01", "2026-02", "2026-03"]
    assert np.prod([1 + month.roi for month in report.months]) == pytest.approx(1 + (report.headline.value("roi") or 0))
    assert sum(month.days for month in report.months) == 70


def test_exposure_is_the_share_of_time_and_equity_that_was_held(skilled: Path, report: Report) -> None:
    curve = RunFolder(skilled).equity()
    assert report.exposure.in_market == pytest.approx((curve.gross[:-1] > 0).mean())
    assert report.exposure.max_gross == pytest.approx((curve.gross / curve.equity).max())


def test_skill_stands_out_from_luck_and_its_absence_does_not(tmp_path: Path, report: Report) -> None:
    assert report.random is not None
    assert report.random.percentile == 1.0
    assert report.deflated is not None
    assert report.deflated.probability > 0.95
    blind = report_of(plant(tmp_path / "blind", days=70, skill=0.0, seed=3), draws=DRAWS)
    assert blind.random is not None
    assert 0.01 < blind.random.percentile < 0.99
    assert blind.deflated is not None
    assert blind.deflated.probability < 0.5
    net, low, high = blind.costs.net, blind.random.net.low, blind.random.net.high
    assert low is not None
    assert high is not None
    assert low < net < high


def test_funding_that_was_earned_is_the_runs_own_and_not_given_to_chance(tmp_path: Path) -> None:
    """Whoever is paid for being there at a settlement knew when to be there; random entries did not."""
    path = plant(tmp_path / "paid", days=70, skill=0.0, seed=3)
    table = pq.read_table(path / TRADES)
    for name in ("funding", "net"):
        paid = pa.array(table[name].to_numpy() + 20.0)
        table = table.set_column(table.schema.get_field_index(name), name, paid)
    pq.write_table(table, path / TRADES)
    report = report_of(path, draws=DRAWS)
    assert report.costs.net > 0
    assert report.random is not None
    assert report.random.percentile == 1.0


def test_buy_and_hold_is_the_markets_own_way_less_two_sides_of_cost(skilled: Path, report: Report) -> None:
    _, prices = RunFolder(skilled).prices()
    cost = report.costs.cost_bp
    assert cost is not None
    growth = np.mean([p[-1] / p[0] for p in prices.values()])
    assert report.hold.value("roi") == pytest.approx(growth * (1 - cost / 1e4) ** 2 - 1)
    assert report.against_hold is not None
    daily = [day.roi for day in report.days]
    assert report.against_hold.mean == pytest.approx(np.mean(daily) - _mean_daily(prices, cost), abs=1e-9)


def _mean_daily(prices: dict[str, np.ndarray], cost_bp: float) -> float:
    share = sum(p / p[0] for p in prices.values()) / len(prices) * (1 - cost_bp / 1e4)
    share[0] = 1.0
    share[-1] *= 1 - cost_bp / 1e4
    ends = share[::288]
    return float(np.mean(ends[1:] / ends[:-1] - 1))


def test_tries_recorded_beside_a_run_are_taken_off_its_sharpe(tmp_path: Path) -> None:
    path = plant(tmp_path / "r", days=40, skill=0.25)
    alone = report_of(path, draws=50).deflated
    write_beside(path, TRIALS, Trials(500, (0.0, 0.3, -0.2, 0.1), 0.4))
    tried = report_of(path, draws=50)
    assert alone is not None
    assert tried.deflated is not None
    assert tried.deflated.probability < alone.probability
    assert (tried.deflated.trials, tried.trials.overfitting) == (500, 0.4)
    (path / TRIALS).write_text("{")
    with pytest.raises(DataError, match=TRIALS):
        report_of(path, draws=50)


def test_the_json_is_the_report(skilled: Path, report: Report) -> None:
    assert msgspec.json.decode((skilled / REPORT_JSON).read_bytes(), type=Report) == report
    assert read_beside(skilled, STRESSES, Stresses) is None


class Outside(HTMLParser):
    """What a page would fetch or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.wants: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object", "embed", "form"):
            self.wants.append(tag)
        self.wants += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "xlink:href", "onclick")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_needs_nothing_but_itself_and_is_well_formed(skilled: Path, report: Report) -> None:
    document = (skilled / REPORT_HTML).read_text()
    page = Outside()
    page.feed(document)
    assert page.wants == []
    assert page.open == []
    assert "url(" not in document
    assert "@import" not in document
    assert "nan" not in re.findall(r'(?: d="[^"]*nan|="nan)', document)
    assert document.count("<svg") == 7
    assert len(document) < 400_000


def test_the_page_says_what_a_reader_must_not_miss(tmp_path: Path) -> None:
    path = plant(tmp_path / "short", days=3.3, skill=0.0, every=200, interrupted=True)
    write_beside(path, STRESSES, Stresses((StressRow(2.0, 1, -0.01, -100.0, None, 0.02, None, 8),), 1.25))
    write_report(path, draws=50)
    page = Outside()
    page.feed((path / REPORT_HTML).read_text())
    text = " ".join(" ".join(page.text).split())
    for words in (
        "8 closed trades, 30 are the least",
        "no promise",
        "was stopped",
        "one try",
        "is n/a of fewer than 30 days",
        "costs x2, 1 candle late",
        "1.25 times the costs",
        "Buy and hold",
        "Random entries",
        "still open",
    ):
        assert words in text, words
    for name in METRICS:
        assert words_module.LABELS[name][0] in text


def test_what_comes_from_outside_is_text_on_the_page_never_markup(tmp_path: Path) -> None:
    path = plant(tmp_path / "<b>x", days=3, params={"<script>": 1})
    write_report(path, draws=20)
    document = (path / REPORT_HTML).read_text()
    assert "<script>" not in document
    assert "<b>x" not in document
    assert "&lt;b&gt;x" in document


def test_a_run_without_a_trade_has_a_report(tmp_path: Path) -> None:
    found = write_report(plant(tmp_path / "idle", days=2, every=10_000), draws=20)
    assert (found.headline.trades, found.random, found.luck_of_trades) == (0, None, None)
    assert "No trade was closed" in (tmp_path / "idle" / REPORT_HTML).read_text()


def test_a_run_of_no_time_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to judge"):
        report_of(plant(tmp_path / "r", days=0, every=10_000))
    with pytest.raises(DataError, match="not the directory"):
        report_of(tmp_path)


@pytest.mark.parametrize("days", [0.5, 2, 20, 200, 900])
def test_time_axes_have_a_readable_number_of_labels(days: float) -> None:
    found = charts_module.time_ticks(START_MS, START_MS + int(days * DAY_MS))
    assert 3 <= len(found) <= 10
    assert [ms for ms, _ in found] == sorted({ms for ms, _ in found})


def test_a_long_curve_is_thinned_without_losing_its_extremes() -> None:
    y = np.random.default_rng(1).normal(size=50_000)
    x, thin = charts_module.thinned(np.arange(50_000), y)
    assert len(thin) <= 2 * charts_module.MOST_POINTS + 2
    assert (thin.min(), thin.max()) == (y.min(), y.max())
    assert (np.diff(x) > 0).all()

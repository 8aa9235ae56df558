"""The matrix itself: nothing is left out without a reason, and a run that is not as it should be is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults.__main__ import main
from tests.faults.cases import CASES, SCOPES, Case, reason
from tests.faults.selection import selected
from tests.faults.verdict import judge
from tests.faults.world import Run, trade
from tradebot.daemon.metrics import DURATIONS, METRICS
from tradebot.ledger import Ledger, schema
from tradebot.market.candle import MINUTE_MS
from tradebot.sim.faults import KINDS

CALM = Case("slow_rest", "rest", {"delay": "25ms", "endpoint": "account"}, from_min=12, for_min=3, total_min=27)
"""A fault that harms nobody."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("calm")
    return asyncio.run(trade(CALM.schedule(1), 1, folder, for_ms=CALM.total_min * MINUTE_MS))


def test_a_run_without_trouble_has_no_problems(run: Run) -> None:
    verdict = judge(CALM, 1, run)
    assert verdict.problems == []
    assert verdict.orders > 4
    assert verdict.fills > 4
    assert run.exchange.exchange.venue.positions()
    assert verdict.injected > 0
    assert verdict.duplicates == 0


def test_each_account_that_differs_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.daemon is not None
    venue, state = run.exchange.exchange.venue, run.daemon.engine.state
    ours = [order for order in venue.past_orders() if order.client_oid.startswith("tb")]
    broken = {
        "came twice": ("past_orders", lambda: [*ours, *ours[:1]]),
        "orders that only the engine has": ("past_orders", lambda: ours[1:]),
        "executions: ": ("executions", lambda: venue.executions()[1:]),
        "without a stop": ("live_plans", list),
    }
    for words, (name, answer) in broken.items():
        changed = answer()
        with monkeypatch.context() as patch:
            patch.setattr(venue, name, lambda *_, changed=changed: changed)
            assert any(words in problem for problem in judge(CALM, 1, run).problems), words
    with monkeypatch.context() as patch:
        patch.setattr(venue.account, "cash", venue.account.cash + Decimal("0.01"))
        assert sum("balance" in problem for problem in judge(CALM, 1, run).problems) == 3
    with monkeypatch.context() as patch:
        patch.setattr(state.triggers, "stops", {})
        assert any("not known to the engine" in problem for problem in judge(CALM, 1, run).problems)


def test_a_ledger_that_misses_an_execution_is_told(run: Run, tmp_path: Path) -> None:
    assert run.daemon is not None
    ledger = Ledger(run.daemon.settings.ledger_url)
    with ledger.begin() as connection:
        row = connection.execute(sa.select(schema.fills).limit(1)).mappings().one()
        connection.execute(sa.delete(schema.fills).where(schema.fills.c.trade_id == row["trade_id"]))
    try:
        problems = judge(CALM, 1, run).problems
    finally:
        with ledger.begin() as connection:
            connection.execute(sa.insert(schema.fills).values(**row))
        ledger.close()
    assert any("1 missing in the ledger" in problem for problem in problems)
    assert any("balance" in problem and "ledger" in problem for problem in problems)
    assert judge(CALM, 1, run).problems == []


def test_entries_on_bad_data_and_a_bot_that_stops_are_told(run: Run) -> None:
    bad = judge(replace(CALM, data="bad"), 1, run).problems
    assert "no decision was blocked while the market data was bad" in bad
    assert "no feed was told to be bad" in bad
    never = judge(replace(CALM, kind="drop"), 1, run).problems
    assert "the fault never happened" in never
    early = judge(replace(CALM, from_min=200, total_min=400), 1, run).problems
    assert any(problem.startswith("no entry afterwards in SOLUSDT, ETHUSDT") for problem in early)


def test_a_fault_that_the_bot_did_not_notice_is_told(run: Run) -> None:
    unnoticed = judge(replace(CALM, kind="rate_limit_storm"), 1, run).problems
    assert "the bot noticed nothing: none of rest_rate_limited rose" in unnoticed
    assert any(name.startswith("rest_requests") for name, rise in run.metrics.items() if rise > 0)


def test_what_shows_a_fault_is_a_metric_of_the_bot() -> None:
    known = {measured.name for measured in (*METRICS, *DURATIONS)}
    for kind in KINDS.values():
        for names in kind.noticed.values():
            assert {name.partition(":")[0] for name in names} <= known, kind.name


def test_every_kind_is_tried_in_every_scope_or_the_reason_is_given() -> None:
    tried = Counter((case.kind, case.scope) for case in CASES)
    for kind in KINDS:
        for scope in SCOPES:
            assert bool(tried[(kind, scope)]) != bool(reason(kind, scope)), (kind, scope)
    assert len({(case.name, case.scope) for case in CASES}) == len(CASES)


def test_the_short_form_meets_every_kind_once_and_every_scope() -> None:
    short = [case for mechanism in ("frame", "connection", "request", "exchange") for case in selected(mechanism)]
    assert [case.kind for case in short] == list(KINDS)
    assert {case.scope for case in short} == set(SCOPES)


def test_the_table_has_a_row_for_each_case_and_the_exit_code_says_how_it_went(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--kind", "duplicate", "--scope", "private"]) == 0
    out, err = capsys.readouterr()
    head, row, *_, last = out.splitlines()
    assert head.split()[:3] == ["kind", "scope", "runs"]
    assert row.split()[:3] == ["duplicate", "private", "1"]
    assert row.split()[-2] == "equal"
    assert last == "1 runs, 0 failed"
    assert err.startswith("1/1 duplicate private seed 1 ok")
    with pytest.raises(SystemExit) as refused:
        main(["--kind", "dorp"])
    assert refused.value.code == 2

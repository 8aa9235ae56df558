"""The report as one page that needs nothing beside itself: no script, no network, plots drawn into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

import msgspec
import numpy as np

from tradebot.backtest.report import charts
from tradebot.backtest.report.charts import Line
from tradebot.backtest.report.facts import Group, Report, Series
from tradebot.backtest.report.style import CSS
from tradebot.backtest.report.words import LABELS, UNKNOWN, amount, break_even, figure, interval, moment, number, share
from tradebot.evaluation.headline import FOR_A_YEAR, METRICS, OF_TRADES
from tradebot.evaluation.stress import Luck, StressPoint

REQUIRED = 0.95
"""Probability that the deflated Sharpe ratio must exceed."""

Cell = str | tuple[str, str]
"""HTML of a cell, or that and its CSS class."""


def page(report: Report, series: Series) -> str:
    """The whole document."""
    title = f"{report.name}: {moment(report.from_ms)[:10]} to {moment(report.to_ms)[:10]}"
    body = "".join(
        section(report, series)
        for section in (_head, _figures, _skill, _curves, _rolling, _trades, _exposure, _costs, _luck, _tables, _origin)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>{body}"
        f"<footer><p>{escape(report.no_promise)}</p></footer></main></body></html>\n"
    )


def _head(report: Report, series: Series) -> str:
    found, value = report.headline, report.headline.value
    cards = [
        (figure("roi", value("roi")), f"return in {found.span_days:.0f} days"),
        (f"{amount(report.end_equity - report.start_equity)}", f"USDT on {report.start_equity:,.0f}"),
        (figure("sharpe", value("sharpe")), "Sharpe, daily, 365 days a year"),
        (figure("max_drawdown", value("max_drawdown")), "maximum drawdown"),
        (f"{found.trades:,}", f"closed trades, {found.independent_trades:,} independent"),
    ]
    lead = "".join(f"<div><b>{escape(text)}</b><span>{escape(name)}</span></div>" for text, name in cards)
    return (
        f"<h1>{escape(report.name)}</h1>"
        f'<p class="dim">Strategy {escape(report.strategy)} on {escape(", ".join(report.symbols))}, '
        f"{moment(report.from_ms)} to {moment(report.to_ms)} UTC. Market: {escape(report.source)}.</p>"
        f'<div class="lead">{lead}</div>{_warnings(report)}'
    )


def _warnings(report: Report) -> str:
    said = [f"{text[:1].upper()}{text[1:]}." for text in report.cautions]
    said += [f"Too little to conclude from: {text}." for text in report.headline.insufficient]
    if report.interrupted:
        said.append(
            f"The run was stopped at {moment(report.to_ms)} UTC; it was to go on to {moment(report.asked_to_ms)}."
        )
    if report.deflated is not None and report.deflated.probability <= REQUIRED:
        said.append(
            f"The Sharpe ratio does not stand out from luck: {report.deflated.probability:.2f} after "
            f"{_trials(report)}, more than {REQUIRED:.2f} is asked for."
        )
    if report.headline.span_days < FOR_A_YEAR:
        said.append(
            f"Growth a year, and with it Calmar, is n/a of fewer than {FOR_A_YEAR:.0f} days; these are "
            f"{report.headline.span_days:.1f}."
        )
    said.append(report.no_promise)
    return f'<div class="warn">{"".join(f"<p>{escape(text)}</p>" for text in said)}</div>'


def _figures(report: Report, series: Series) -> str:
    headline = report.headline
    thin = bool(headline.insufficient)
    rows: list[Sequence[Cell]] = []
    for name in METRICS:
        label, _, meaning = LABELS[name]
        own = headline.figures[name]
        mark = " †" if thin and own.value is not None else ""
        chance = report.random.figures.get(name) if report.random else None
        rows.append(
            (
                f"{label}<small>{escape(meaning)}</small>",
                (f"{figure(name, own.value)}{mark}", "own"),
                interval(name, own) or UNKNOWN,
                "" if name in OF_TRADES else figure(name, report.hold.value(name)),
                "" if chance is None else figure(name, chance.median),
                ""
                if chance is None or chance.low is None
                else f"{figure(name, chance.low)} to {figure(name, chance.high)}",
            )
        )
    note = (
        f"Intervals hold {headline.level:.0%} of {headline.draws:,} resamples of whole days, drawn in stretches of "
        f"{headline.block_days:.1f} days on average ({headline.blocks:.1f} independent stretches). Buy and hold: the "
        "same symbols in equal parts, without leverage, costs of one entry and one exit. Random entries: as many "
        "trades, as long, on the same sides and at the same costs, at other moments; closed trades only."
    )
    dagger = "<br>† too few trades or days to conclude anything; see above." if thin else ""
    return (
        "<h2>Figures, and what they must beat</h2>"
        + _table(
            (
                "Figure",
                "Run",
                f"{headline.level:.0%} interval",
                "Buy and hold",
                "Random, median",
                "Random, 5 % to 95 %",
            ),
            rows,
        )
        + f'<p class="dim">{note}{dagger}</p>'
    )


def _skill(report: Report, series: Series) -> str:
    rows: list[Sequence[Cell]] = []
    if report.deflated is not None:
        d = report.deflated
        passed = d.probability > REQUIRED
        rows.append(
            (
                "Deflated Sharpe<small>probability that the true Sharpe is above what luck gives the best of all tries"
                "</small>",
                (f"{d.probability:.3f}", "good" if passed else "bad"),
                (
                    f"more than {REQUIRED}; {_trials(report)}, luck alone {d.luck:.3f} a day, measured {d.sharpe:.3f}",
                    "text",
                ),
            )
        )
    if report.trials.overfitting is not None:
        rows.append(
            (
                "Probability of overfitting<small>how often the best of one half of time is below the middle on the "
                "other</small>",
                (f"{report.trials.overfitting:.2f}", "good" if report.trials.overfitting < 0.5 else "bad"),
                ("0.5 is choosing among noise", "text"),
            )
        )
    if report.against_hold is not None:
        a = report.against_hold
        rows.append(
            (
                "Better than buy and hold<small>mean daily return, day by day</small>",
                (f"{a.p_positive:.2f}", "good" if a.p_positive >= 0.9 else ""),
                (
                    f"{share(a.mean, signed=True)} a day, {share(a.low, signed=True)} to {share(a.high, signed=True)}",
                    "text",
                ),
            )
        )
    plot = ""
    if report.random is not None:
        r = report.random
        rows.append(
            (
                "Better than random entries<small>share of draws that earned less</small>",
                (f"{r.percentile:.3f}", "good" if r.percentile >= 0.95 else ""),
                (
                    f"{amount(r.own)} USDT of closed trades, {amount(r.net.median)} at the middle of {r.draws:,} draws",
                    "text",
                ),
            )
        )
        if r.net.low is not None and r.net.median is not None and r.net.high is not None:
            plot = _plot(
                charts.strip(
                    r.net.low,
                    r.net.median,
                    r.net.high,
                    r.own,
                    title="Net of random entries",
                    label=lambda v: f"{v:,.0f}",
                ),
                'Net, USDT: <i class="key own"></i>the run, <i class="key chance"></i>random entries (5 % to 95 %)',
            )
    if not rows:
        return ""
    return "<h2>Skill or luck</h2>" + _table(("Question", "Answer", "Beside"), rows, text={2}) + plot


def _curves(report: Report, series: Series) -> str:
    times = series.curve.ts_ms
    equity = charts.time_plot(
        [
            Line("buy and hold", "hold", times, series.hold),
            Line("equity", "own", times, series.curve.equity),
        ],
        height=280,
        label=lambda v: f"{v:,.0f}",
        title="Equity over time",
        with_times=False,
    )
    falls = charts.time_plot(
        [Line("drawdown", "fall", times, -series.drawdown, area=True)],
        height=130,
        label=lambda v: f"{v * 100:.1f} %",
        title="Drawdown over time",
        zero=0.0,
    )
    return "<h2>Equity and drawdown</h2>" + _plot(
        equity + falls,
        '<i class="key own"></i>equity, what is open counted, USDT <i class="key hold"></i>buy and hold. '
        "Below: how far equity lies under its highest point before.",
    )


def _rolling(report: Report, series: Series) -> str:
    if len(series.rolling_ms) < 2:
        return ""
    plot = charts.time_plot(
        [Line("Sharpe", "own", series.rolling_ms, series.rolling)],
        height=170,
        label=lambda v: f"{v:.1f}",
        title="Rolling Sharpe ratio",
        zero=0.0,
    )
    return "<h2>Rolling Sharpe</h2>" + _plot(plot, f"Of the {series.rolling_days} days before each day, annualised.")


def _trades(report: Report, series: Series) -> str:
    trades = series.trades
    closed = trades.closed_ms > 0
    if not closed.any():
        return "<h2>Trades</h2><p>No trade was closed.</p>"
    minutes = np.maximum((trades.closed_ms - trades.opened_ms) / 60_000, 0.1)
    groups = [
        (side, side, minutes[closed & (trades.side == side)], trades.net_bp[closed & (trades.side == side)])
        for side in ("long", "short")
    ]
    plot = charts.scatter(
        groups, height=300, title="Result and holding time of trades", x_name="minutes held", y_name="net bp"
    )
    still = f" {report.open_trades} still open at the end are not shown." if report.open_trades else ""
    return "<h2>Trades</h2>" + _plot(
        plot, f'<i class="key dot long"></i>long <i class="key dot short"></i>short, net bp of what was entered.{still}'
    )


def _exposure(report: Report, series: Series) -> str:
    curve, found = series.curve, report.exposure
    equity = np.maximum(curve.equity, 1e-9)
    plot = charts.time_plot(
        [
            Line("gross", "own", *charts.averaged(curve.ts_ms, curve.gross / equity), area=True),
            Line("net", "net", *charts.averaged(curve.ts_ms, curve.net / equity)),
        ],
        height=170,
        label=lambda v: f"{v:.2f}",
        title="Exposure over time",
        zero=0.0,
    )
    return "<h2>Exposure</h2>" + _plot(
        plot,
        'Open notional over equity, averaged over short stretches: <i class="key own"></i>gross '
        '<i class="key short"></i>net. In the market '
        f"{share(found.in_market)} of the time, {found.mean_gross:.2f} times equity on average, {found.max_gross:.2f} "
        "at most.",
    )


def _costs(report: Report, series: Series) -> str:
    c = report.costs
    plot = charts.waterfall(
        [("at the mid", c.at_mid), ("spread and slippage", c.slippage), ("fees", c.fees), ("funding", c.funding)],
        "net",
        title="From gross to net",
        label=amount,
    )
    said = []
    if c.cost_bp is not None and c.break_even_bp is not None:
        even = (
            f"at {c.break_even_bp:.2f} bp nothing would be earned"
            if c.break_even_bp > 0
            else "even without any cost nothing would be earned"
        )
        said.append(f"One side cost {c.cost_bp:.2f} bp of its notional; {even}. Turnover {c.turnover:,.0f} USDT.")
    if c.unmeasured:
        said.append(
            f"{c.unmeasured} of {c.legs} entries and exits had no decision (stops): their slippage is in the price."
        )
    return "<h2>Costs</h2>" + _plot(plot, "USDT, trades still open included. " + escape(" ".join(said)))


def _luck(report: Report, series: Series) -> str:
    def row(name: str, luck: Luck, say: Callable[[float], str]) -> Sequence[Cell]:
        return (
            name,
            (say(luck.low), "bad" if luck.low < 0 else ""),
            say(luck.median),
            say(luck.high),
            say(luck.drawdown_median).lstrip("+"),
            say(luck.drawdown_high).lstrip("+"),
            f"{luck.loses:.0%}",
        )

    rows = [row("Days drawn again", report.luck_of_days, share)]
    if report.luck_of_trades is not None:
        rows.append(row("Trades drawn again<small>USDT</small>", report.luck_of_trades, amount))
    text = "<h2>Worse luck, higher costs, a slower bot</h2>" + _table(
        ("Monte Carlo", "Earned, worst 5 %", "Median", "Best 5 %", "Drawdown, median", "Worst 5 %", "Lose money"), rows
    )
    draws, block = report.luck_of_days.draws, report.luck_of_days.block
    text += f'<p class="dim">{draws:,} stationary bootstrap draws in stretches of {block:.0f} days on average.</p>'
    if report.stresses is None:
        return text
    stressed = [
        (
            str(StressPoint(s.cost, s.delay_bars)),
            (share(s.roi), "bad" if s.roi < 0 else ""),
            amount(s.net),
            number(s.sharpe),
            share(s.max_drawdown),
            UNKNOWN if s.expected_bp is None else f"{s.expected_bp:+.1f} bp",
            f"{s.trades:,}",
        )
        for s in report.stresses.rows
    ]
    even = report.stresses.break_even_cost
    said = "" if even is None else f'<p class="dim">{break_even(even).capitalize()}.</p>'
    return (
        text
        + _table(("Run again under", "Return", "Net USDT", "Sharpe", "Drawdown", "A trade", "Trades"), stressed)
        + said
    )


def _tables(report: Report, series: Series) -> str:
    parts = ["<h2>Where it came from</h2>"]
    for name, groups in (
        ("Symbol", report.by_symbol),
        ("Side", report.by_side),
        ("End", report.by_end),
        ("Model", report.by_model),
    ):
        if groups:
            parts.append(_group_table(name, groups))
    months = [
        (
            m.name,
            f"{m.days}",
            (share(m.roi, signed=True), "bad" if m.roi < 0 else "good" if m.roi > 0 else ""),
            share(m.max_drawdown),
            f"{m.trades:,}",
            amount(m.net),
        )
        for m in report.months
    ]
    if report.windows:
        weeks = [
            (
                f"{w.number}<small>{moment(w.from_ms)[:10]} to {moment(w.to_ms)[:10]}</small>",
                (share(w.roi, signed=True), "bad" if w.roi < 0 else "good" if w.roi > 0 else ""),
                f"{w.trades:,}",
                amount(w.net),
                escape(", ".join(w.models)) or "none",
            )
            for w in report.windows
        ]
        parts.append(_table(("Window", "Return", "Trades closed", "Their net USDT", "Models"), weeks))
    parts.append(_table(("Month", "Days", "Return", "Drawdown", "Trades closed", "Their net USDT"), months))
    return "".join(parts)


def _group_table(name: str, groups: Iterable[Group]) -> str:
    rows = [
        (
            escape(g.name),
            f"{g.trades:,}",
            amount(g.gross),
            amount(g.slippage),
            amount(g.fees),
            amount(g.funding),
            (amount(g.net), "bad" if g.net < 0 else "good" if g.net > 0 else ""),
            share(g.win_rate),
            number(g.profit_factor),
            UNKNOWN if g.expected_bp is None else f"{g.expected_bp:+.1f}",
            UNKNOWN if g.hold_hours is None else f"{g.hold_hours:.2f}",
        )
        for g in groups
    ]
    header = (
        name,
        "Trades",
        "Gross",
        "of it slippage",
        "Fees",
        "Funding",
        "Net",
        "Win rate",
        "Profit f.",
        "bp",
        "Hours",
    )
    return _table(header, rows, css="even")


def _origin(report: Report, series: Series) -> str:
    facts = [
        ("parameters", msgspec.json.encode(report.parameters, enc_hook=str).decode()),
        ("seed", str(report.seed)),
        ("decisions", f"sha256 {report.decisions_sha256}"),
        *((name, value) for name, value in report.hashes.items()),
        *(
            (f"model of {m.symbol}", f"{m.name} {m.version}, sha256 {m.sha256}, from {moment(m.since_ms)} UTC")
            for m in report.models
        ),
        ("tries", f"{_trials(report)}. {report.trials.span}".strip()),
    ]
    rows = [(escape(name), (f"<code>{escape(value)}</code>", "text")) for name, value in facts]
    return "<h2>What it was made of</h2>" + _table(("", "Value"), rows, text={1})


def _trials(report: Report) -> str:
    count = report.trials.count
    return "one try" if count == 1 else f"the best of {count:,} tries"


def _plot(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _table(header: Sequence[str], rows: Iterable[Sequence[Cell]], text: set[int] | None = None, css: str = "") -> str:
    left = text or set()
    head = "".join(f"<th{' class=text' if i in left else ''}>{escape(name)}</th>" for i, name in enumerate(header))
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table class="{css}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{cell}</td>"
    content, css = cell
    return f'<td class="{css}">{content}</td>' if css else f"<td>{content}</td>"

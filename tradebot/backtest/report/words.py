"""Figures in words: the label of each, how it is written, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from tradebot.evaluation.headline import Figure, MetricName

Kind = Literal["share", "ratio", "bp", "count"]

LABELS: Final[dict[MetricName, tuple[str, Kind, str]]] = {
    "roi": ("Return", "share", "of the whole run, what is open counted"),
    "cagr": ("Growth a year", "share", "the same, compounded to 365 days; n/a of fewer than 30"),
    "sharpe": ("Sharpe", "ratio", "daily returns, 365 days a year"),
    "sortino": ("Sortino", "ratio", "downside deviation over all days"),
    "max_drawdown": ("Maximum drawdown", "share", "seen every 5 minutes, what is open counted"),
    "calmar": ("Calmar", "ratio", "growth a year over maximum drawdown"),
    "recovery": ("Recovery", "ratio", "net profit over the largest fall in USDT"),
    "profitable_days": ("Profitable days", "share", "of all days"),
    "win_rate": ("Win rate", "share", "closed trades that earned, after costs"),
    "profit_factor": ("Profit factor", "ratio", "won over lost"),
    "expected_bp": ("Expected a trade, each alike", "bp", "plain mean of net, bp of what each entered"),
    "reward_risk": ("Reward to risk", "ratio", "mean win over mean loss"),
    "losses_in_a_row": ("Most losses in a row", "count", "closed trades"),
}
"""Label, kind and definition of every figure, in the order in which they are shown."""

UNKNOWN: Final = "n/a"


def share(value: float | None, *, signed: bool = False) -> str:
    """A fraction in percent.

    >>> share(0.12345), share(-0.001, signed=True), share(12.0), share(None)
    ('12.35 %', '-0.10 %', '1,200 %', 'n/a')
    """
    if value is None:
        return UNKNOWN
    percent = value * 100
    return f"{percent:{'+' if signed else ''},.{2 if abs(percent) < 1000 else 0}f} %"


def amount(value: float | None, *, signed: bool = True) -> str:
    """USDT.

    >>> amount(1234.5), amount(-0.001, signed=False)
    ('+1,234.50', '-0.00')
    """
    return UNKNOWN if value is None else f"{value:{'+' if signed else ''},.2f}"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number; large ones lose their digits.

    >>> number(2.345), number(12345.6), number(None)
    ('2.35', '12,346', 'n/a')
    """
    return UNKNOWN if value is None else f"{value:,.{digits if abs(value) < 1000 else 0}f}"


def figure(name: MetricName, value: float | None) -> str:
    """A figure as its kind is written.

    >>> figure("max_drawdown", 0.25), figure("expected_bp", -3.21), figure("losses_in_a_row", 4.0)
    ('25.00 %', '-3.2 bp', '4')
    """
    if value is None:
        return UNKNOWN
    match LABELS[name][1]:
        case "share":
            return share(value)
        case "bp":
            return f"{value:+.1f} bp"
        case "count":
            return f"{value:.0f}"
        case "ratio":
            return number(value)


def interval(name: MetricName, found: Figure) -> str:
    """A figure's interval, empty where there is none.

    >>> interval("win_rate", Figure(0.5, 0.4, 0.6))
    '40.00 % to 60.00 %'
    """
    return "" if found.low is None or found.high is None else f"{figure(name, found.low)} to {figure(name, found.high)}"


def moment(ms: int) -> str:
    """Date and minute, UTC.

    >>> moment(86_400_000)
    '1970-01-02 00:00'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def break_even(times: float) -> str:
    """At which multiple of its costs a run would earn nothing.

    >>> break_even(1.5)
    'nothing would be earned at 1.50 times the costs'
    """
    if times <= 0:
        return "even without any cost nothing would be earned"
    return f"nothing would be earned at {times:.2f} times the costs"

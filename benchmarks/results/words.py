"""What the page says besides figures: how to read it, and what was published."""

from __future__ import annotations

from typing import NamedTuple

INTRODUCTION = """\
Every model is trained, tuned and given its trading level on candles before {cut} UTC and measured on those after it,
with what it would have been served. Nothing on this page was chosen by looking at the measured rows. {form}

How to read a cell: value [95 % interval] vs what the strongest simple rule or model reaches on the same rows. Intervals
are block bootstraps (blocks of a day, widened for how few there are); a difference inside them is no difference.
Money is after 14 bp a round trip (taker fees, half the spread and slippage on both sides), at the next candle's open.
"made in" is the whole job on {machine} beside other work: search, fit, evaluation, export and parity; "a forecast" the
median time of one row through the served ONNX graph. "gate" is what the promotion gate says of it: `refused` models do
not serve, `provisional` ones in demo and paper only. Training again does not reproduce the last digits with other
library versions."""

NOT_HERE = """\
Basis (mark over index price) and open interest have no recorded history in the shared data: the models that know these
inputs were trained and measured with them unknown (`NaN`). Nothing here is a forecast of profit: the measured span is
six weeks of one market phase."""


class Section(NamedTuple):
    """``columns``: title, metric, digits, scale. ``conclusions``: what, metric, whether better is above or below the
    baseline, or (``positive``) above it and above nothing."""

    name: str
    title: str
    published: str
    columns: tuple[tuple[str, str, int, float], ...]
    conclusions: tuple[tuple[str, str, str], ...] = ()


_CANDLE = (
    ("move AUC", "move_auc", 3, 1.0),
    ("direction AUC", "direction_auc", 3, 1.0),
    ("right on decided rows, %", "decided_accuracy", 1, 100.0),
    ("log-loss skill, %", "log_loss_skill", 2, 100.0),
    ("net bp a trade", "net_bp_per_trade", 1, 1.0),
    ("trades", "trades", 0, 1.0),
)

_CANDLE_SAYS = (
    ("whether it moves", "move_auc", "above"),
    ("which way, given that it moves", "direction_auc", "above"),
    ("log-loss", "log_loss_skill", "above"),
    ("profit", "net_bp_per_trade", "positive"),
)

_WALK = (
    ("Sharpe, net", "sharpe", 2, 1.0),
    ("total return, %", "roi", 1, 100.0),
    ("win rate, %", "win_rate", 1, 100.0),
    ("largest drawdown, %", "max_drawdown", 1, 100.0),
    ("trades", "trades", 0, 1.0),
    ("P(true Sharpe > luck)", "deflated_sharpe", 2, 1.0),
)

SECTIONS = (
    Section(
        "lightgbm",
        "LightGBM: moves of ±0.2 % within two 5m candles",
        """\
*Published:* a win rate above 60 %, from a shuffled split of overlapping labels; five simulated random walks give
60.0 % ± 0.5 under that split and 50.5 % ± 0.4 in time order, so 60 % is what no skill looks like there. *Reference:* an
untuned booster on 20 features reaches a move AUC of 0.707 / 0.695 / 0.669 and a direction AUC of 0.54 / 0.54 / 0.53 on
BTC / ETH / SOL after the same date. The last columns before the times are the strategy `expected_value` in a back-test
of the whole bot on the same days: it enters where the expected return exceeds what the trade costs, and stays out where
it does not.""",
        (
            *_CANDLE,
            ("bot: net, % of the account", "strategy_net", 2, 100.0),
            ("bot: trades", "strategy_trades", 0, 1.0),
        ),
        _CANDLE_SAYS,
    ),
    Section(
        "lightgbm-compat",
        "LightGBM: the published recipe beside an honest split",
        """\
58 indicators, price levels among them, and only rows that moved. The same recipe twice: with the published shuffled
split, search and score on one slice; and split by time, scored on its newest rows, which decided nothing ("rows" counts
those). The gap is what the split is worth, not the model.""",
        (
            ("shuffled: right, %", "shuffled_accuracy", 1, 100.0),
            ("by time: right, %", "honest_accuracy", 1, 100.0),
            ("shuffled: AUC", "shuffled_auc", 3, 1.0),
            ("by time: AUC", "honest_auc", 3, 1.0),
            ("shuffled: F1, %", "shuffled_f1", 1, 100.0),
            ("by time: F1, %", "honest_f1", 1, 100.0),
        ),
    ),
    Section(
        "lorentzian",
        "Lorentzian neighbours (proper form)",
        """\
The nearest eight of the newest 2,000 bars, each with what came *after* it, as a served model with calibrated
probabilities.""",
        _CANDLE,
        _CANDLE_SAYS,
    ),
    Section(
        "lorentzian-walk",
        "Lorentzian indicator, walked through its own filters",
        """\
*Reference:* out-of-sample Sharpe net of costs about −0.5 for the published form (`compat`) and −0.2 for the proper one.
The indicator fits nothing; the days are those that a walk of 30 days to learn and 7 to forecast would trade, before
and after the cut. "vs" is buying and holding over the same days.""",
        _WALK,
        (("Sharpe", "sharpe", "positive"),),
    ),
    Section(
        "lorentzian-net",
        "Lorentzian networks, walk-forward (30 days to learn, 7 to forecast)",
        """\
*Published:* a Sharpe above 1.5 is "good", from the best window chosen by its own test score; with no skill at all the
best of 21 weekly windows shows 13.8 on average. *Reference:* the published net reaches −1.6 to +0.9 by seed, so one run
proves nothing. Every window is forecast by a net that was fitted on the days before it. "vs" is buying and holding.""",
        _WALK,
        (("Sharpe", "sharpe", "positive"),),
    ),
    Section(
        "bilstm",
        "BiLSTM with attention: the next candle's return",
        """\
*Published:* a MAPE of 0.8 to 1.8 % and 92 to 96 % "accuracy"; predicting no change at all has a MAPE of about 0.16 % on
15m and 0.32 % on 1h candles, so 1.7 % is many times worse than nothing. *Reference:* a 1×64 net on volatility-scaled
returns reaches a MASE of 1.0015, ridge regression 0.9993. MASE below 1 is better than no change.""",
        (
            ("MASE", "mase", 4, 1.0),
            ("skill vs no change, %", "skill_vs_persistence", 2, 100.0),
            ("Diebold–Mariano p", "diebold_mariano_p", 2, 1.0),
            ("direction right, %", "direction_accuracy", 1, 100.0),
            ("MAPE, %", "mape", 4, 1.0),
            ("net bp a trade", "net_bp_per_trade", 1, 1.0),
            ("trades", "trades", 0, 1.0),
        ),
        (("mean absolute error", "mase", "below"), ("squared error", "skill_vs_persistence", "above"),
         ("direction", "direction_accuracy", "above"), ("profit", "net_bp_per_trade", "positive")),
    ),
)  # fmt: skip

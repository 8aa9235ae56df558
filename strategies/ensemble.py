"""Several models, one opinion: weighted mean, stacked probabilities, votes, or averaged ranks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import exp, inf, log
from typing import Annotated, Literal, NamedTuple

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.exits import Exit, Reversal, TimeExit, Wanted, first, protected
from tradebot.trading.sizing import Fixed, Sizing, prospect, sized
from tradebot.trading.strategy import Intent, Strategy, View

REMEMBERED = 288
ENOUGH = 100


class EnsembleParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the models' forecasts become one, and what is made of it.

    ``combine``: mean: weighted mean of the expected returns. stack: P(up, given a move) as the sigmoid of the bias and
    the weighted log odds of the models; rank while a model with a weight is missing. majority: more than half of the
    serving models expect enough in that direction. unanimous: all of them do. rank: weighted mean of each forecast's
    rank among the same model's last 288, -1 to 1, once 100 were seen.
    ``weights``: by model name; who is not named weighs 1, in a stack 0. Those of a stack come from a non-negative
    logistic regression on out-of-fold forecasts. ``bias``: of a stack.
    ``entry_bp``: level of mean, majority and unanimous, bp; null: what each model learned on its validation slice.
    ``min_p``: level of a stack. ``min_rank``: level of ranks. ``least``: how many models must have answered.
    ``exits``: ways out. ``size``: how much of the configured order.
    """

    combine: Literal["mean", "stack", "majority", "unanimous", "rank"] = "mean"
    weights: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}
    bias: float = 0.0
    entry_bp: Annotated[float, msgspec.Meta(gt=0)] | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] = 0.55
    min_rank: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    least: Annotated[int, msgspec.Meta(ge=1)] = 1
    exits: tuple[Exit, ...] = (Reversal(), TimeExit(horizons=1.0))
    size: Sizing = Fixed()

    def __post_init__(self) -> None:
        if self.combine == "stack" and not any(self.weights.values()):
            raise ValueError("weights: a stack needs the weight of at least one model")


class Opinion(NamedTuple):
    """What the models together want, and the number it follows from in words."""

    wanted: Wanted
    reason: str


class Ensemble(Strategy):
    """One position per symbol, entered on what its models say together."""

    Params = EnsembleParams
    params: EnsembleParams

    def __init__(self, params: EnsembleParams) -> None:
        super().__init__(params)
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        ranks = {name: self._rank(one) for name, one in view.forecasts.items()}
        opinion = self._opinion(view, ranks)
        if view.holding.side != "flat":
            due = first(self.params.exits, view, opinion.wanted)
            return Intent("hold", opinion.reason) if due is None else Intent("exit", f"{due}: {opinion.reason}")
        if opinion.wanted == "flat":
            return Intent("hold", opinion.reason)
        entry = Intent("enter_long" if opinion.wanted == "long" else "enter_short", opinion.reason)
        together = self._together(forecast, view.forecasts)
        share = self.params.size.share(prospect(view, together, opinion.wanted, view.taker_cost_bp))
        return protected(sized(entry, share), self.params.exits, view)

    def on_candle(self, view: View) -> Intent:
        due = first(self.params.exits, view)
        return Intent("hold", "no forecast") if due is None else Intent("exit", due)

    def _opinion(self, view: View, ranks: Mapping[str, float | None]) -> Opinion:
        came, combine = view.forecasts, self.params.combine
        if len(came) < self.params.least:
            return Opinion("flat", f"{len(came)} of {len(view.models)} models answered, {self.params.least} are needed")
        if combine == "mean":
            levels = {name: self._level(view, name) for name in came}
            expected = self._mean((name, one.expected_bp) for name, one in came.items())
            return _beyond(expected, self._mean(levels.items()), "mean of {n} models {value:+.2f} bp", len(came))
        if combine in ("majority", "unanimous"):
            return self._vote(view, unanimous=combine == "unanimous")
        weighed = [name for name, weight in self.params.weights.items() if weight > 0]
        if combine == "stack" and all(name in came for name in weighed):
            p = _sigmoid(self.params.bias + sum(self.params.weights[name] * _logit(came[name]) for name in weighed))
            return _beyond(2 * p - 1, 2 * self.params.min_p - 1, f"stacked P(up) {p:.3f} of {{n}} models", len(weighed))
        known = [(name, rank) for name, rank in ranks.items() if rank is not None]
        if not known:
            return Opinion("flat", f"fewer than {ENOUGH} forecasts to rank this one among")
        return _beyond(self._mean(known), self.params.min_rank, "mean rank of {n} models {value:+.3f}", len(known))

    def _vote(self, view: View, *, unanimous: bool) -> Opinion:
        votes = [_beyond(one.expected_bp, self._level(view, name), "", 1) for name, one in view.forecasts.items()]
        up, down = (sum(vote.wanted == side for vote in votes) for side in ("long", "short"))
        voters = max(len(view.models), len(votes))
        needed = voters if unanimous else voters // 2 + 1
        reason = f"{up} models for long, {down} for short, {needed} of {voters} needed"
        return Opinion("long" if up >= needed else "short" if down >= needed else "flat", reason)

    def _rank(self, forecast: ForecastReady) -> float | None:
        """Rank among the model's forecasts before this one, -1 to 1; then remember this one."""
        seen = self._seen.setdefault((forecast.symbol, forecast.model), deque(maxlen=REMEMBERED))
        rank = None
        if len(seen) >= ENOUGH:
            below = sum(value < forecast.expected_bp for value in seen)
            equal = sum(value == forecast.expected_bp for value in seen)
            rank = (2 * below + equal) / len(seen) - 1
        seen.append(forecast.expected_bp)
        return rank

    def _level(self, view: View, name: str) -> float:
        """The expected return (bp) from which a model's forecast counts."""
        if self.params.entry_bp is not None:
            return self.params.entry_bp
        model = view.models.get(name)
        return inf if model is None or model.entry_bp is None else model.entry_bp

    def _mean(self, values: Iterable[tuple[str, float]]) -> float:
        """Weighted mean of numbers by model name; 0 when nothing weighs."""
        weighed = [(self.params.weights.get(name, 1.0), value) for name, value in values]
        total = sum(weight for weight, _ in weighed)
        return sum(weight * value for weight, value in weighed if weight) / total if total else 0.0

    def _together(self, forecast: ForecastReady, came: Mapping[str, ForecastReady]) -> ForecastReady:
        """The weighted mean of all forecasts, for sizing."""
        return msgspec.structs.replace(
            forecast,
            expected_bp=self._mean((name, one.expected_bp) for name, one in came.items()),
            p_up=self._mean((name, one.p_up) for name, one in came.items()),
            p_down=self._mean((name, one.p_down) for name, one in came.items()),
        )


def _beyond(value: float, level: float, reason: str, n: int) -> Opinion:
    """Long from ``level`` (above 0) on, short from its negative on."""
    wanted: Wanted = "long" if value >= level > 0 else "short" if value <= -level < 0 else "flat"
    return Opinion(wanted, f"{reason.format(value=value, n=n)}, level {level:.3f}")


def _logit(forecast: ForecastReady) -> float:
    """Log odds of up against down; the neutral class says nothing about direction."""
    tiny = 1e-6
    return log(max(forecast.p_up, tiny) / max(forecast.p_down, tiny))


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))

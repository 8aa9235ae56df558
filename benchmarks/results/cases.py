"""Which models on which data, in the short form (an hour on two cores) and in the full one."""

from __future__ import annotations

from typing import Literal

import msgspec

from tradebot.market.candle import HOUR_MS

CUT_MS = 1_771_113_600_000
"""2026-02-15 00:00 UTC: nothing is fitted or chosen on later rows, nothing is measured on earlier ones."""

Form = Literal["short", "full"]
Options = dict[str, float | int | str | bool]

MAJORS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
OTHERS = ("BNBUSDT", "ADAUSDT", "AVAXUSDT")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one file of candles.

    ``way``: ``train`` fits one version before the cut; ``walk`` fits a window, forecasts the next, and goes on
    (every forecast of a walk is of rows after those it was fitted on); ``compat`` is the published LightGBM recipe with
    its shuffled split, and the same recipe split by time. ``section`` is where the page shows it.
    """

    section: str
    way: Literal["train", "walk", "compat"]
    family: str
    symbol: str
    interval: str
    file: str
    days: int
    options: Options = {}
    params: Options = {}
    rule: str = "threshold"
    strategy: str = ""
    """The version also serves this strategy through a back-test of the rows after the cut."""
    trials: int = 1
    rounds: int = 250
    seed: int = 7
    tried: int = 1
    """How many walks like this one are made in all; what chance gives the best of them is taken off."""
    limit_s: float = 40 * 60.0
    """Longer than this is given up and said."""

    @property
    def name(self) -> str:
        """Unique, and fit for a file's name."""
        given = [f"{k}={v}" for k, v in sorted((self.options | self.params).items())]
        parts = (
            self.way,
            self.family,
            self.symbol,
            self.interval,
            self.file.partition(".")[0].split("_")[0],
            self.rule,
        )
        return "-".join([*parts, *given, f"s{self.seed}"]).replace("/", "_")


def cases(form: Form) -> list[Case]:
    """Every case of a form, in the order of the page."""
    return [*_lightgbm(form), *_lorentzian(form), *_lorentzian_net(form), *_bilstm(form)]


def _lightgbm(form: Form) -> list[Case]:
    trials, rounds = (4, 1_000) if form == "short" else (50, 2_000)
    plain = [
        Case(section="lightgbm", way="train", family="lightgbm", symbol=symbol, interval="5m",
             file=f"bybit_{symbol}_perp_5m.parquet", days=180, trials=trials, rounds=rounds,
             strategy="expected_value")
        for symbol in (*MAJORS, *OTHERS)
    ]  # fmt: skip
    compat = [
        Case(section="lightgbm-compat", way="compat", family="lightgbm", symbol=symbol, interval="5m",
             file=f"bybit_{symbol}_perp_5m.parquet", days=180, trials=trials, rounds=rounds)
        for symbol in MAJORS
    ]  # fmt: skip
    return [*plain, *compat]


def _lorentzian(form: Form) -> list[Case]:
    proper = [
        Case(section="lorentzian", way="train", family="lorentzian", symbol=symbol, interval="15m",
             file=f"bybit_{symbol}_perp_5m.parquet", days=180)
        for symbol in MAJORS
    ]  # fmt: skip
    markets = [(symbol, "15m", f"bybit_{symbol}_perp_5m.parquet", 161) for symbol in MAJORS]
    markets += [(symbol, "1h", f"binance_{symbol}_perp_1h.parquet", 371) for symbol in MAJORS]
    walked = [
        Case(section="lorentzian-walk", way="walk", family="lorentzian", symbol=symbol, interval=interval,
             file=file, days=days, rule="indicator", options={"form": kind}, tried=2)
        for kind in ("compat", "proper") for symbol, interval, file, days in markets
    ]  # fmt: skip
    return [*proper, *walked]


def _lorentzian_net(form: Form) -> list[Case]:
    found: list[Case] = []
    files = {"SOLUSDT": "binance_SOLUSDT_perp_1h.parquet"}
    if form == "full":
        files |= {"BTCUSDT": "binance_BTCUSDT_perp_1h.parquet", "ETHUSDT": "binance_ETHUSDT_perp_1h.parquet"}
    for symbol, file in files.items():
        seeds = (7, 8, 9)  # one walk of such a net proves nothing
        for seed in seeds:
            published: Options = {"kind": "published", "compat": True, "lead": False}
            for options, rule in ((published, "levels"), ({"kind": "attention"}, "threshold")):
                found.append(
                    Case(section="lorentzian-net", way="walk", family="lorentzian-net", symbol=symbol, interval="1h",
                         file=file, days=180, options=options, rule=rule, seed=seed, rounds=30,
                         tried=2 * len(seeds))
                )  # fmt: skip
    return found


def _bilstm(form: Form) -> list[Case]:
    files = {("BTCUSDT", "15m"): 180, ("ETHUSDT", "15m"): 180, ("XRPUSDT", "15m"): 180,
             ("BTCUSDT", "1h"): 420, ("ETHUSDT", "1h"): 420, ("SOLUSDT", "1h"): 420}  # fmt: skip
    whole = {} if form == "short" else files
    asked = [("small", *file) for file in files.items()]
    asked += [("full", *file) for file in (whole or {("BTCUSDT", "1h"): 420}).items()]
    return [
        Case(section="bilstm", way="train", family="bilstm", symbol=symbol, interval=interval,
             file=f"binance_{symbol}_perp_{interval}.parquet", days=days if form == "short" else 2_600,
             options={"size": size}, rounds=8 if form == "short" else 100)
        for size, (symbol, interval), days in asked
    ]  # fmt: skip


BAR_MS = {"5m": HOUR_MS // 12, "15m": HOUR_MS // 4, "1h": HOUR_MS}

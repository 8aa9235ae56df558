"""A run's directory made by hand: a market, trades of known skill, and the account that follows from both."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np

from tradebot.backtest.run import STEP_MS, DecisionFile, EquityCurve, Run, Trades, write_run
from tradebot.events import Decision, EngineConfig
from tradebot.market.candle import DAY_MS

START_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
CASH = 10_000.0
NOTIONAL = 1_000.0
FEE = 0.0006
HALF_SPREAD = 0.0001


def plant(
    path: Path,
    *,
    days: float = 40,
    skill: float = 0.2,
    symbols: tuple[str, ...] = ("SOLUSDT", "XRPUSDT"),
    seed: int = 1,
    every: int = 36,
    hold: int = 6,
    start_ms: int = START_MS,
    interrupted: bool = False,
    params: dict[str, object] | None = None,
) -> Path:
    """Write a run: a trade every ``every`` steps, held ``hold``; its side is right more often, the higher ``skill``.

    The last trade of each symbol stays open. Decisions lie half a spread from the fills.
    """
    path.mkdir(parents=True, exist_ok=True)
    steps = int(days * DAY_MS) // STEP_MS
    ts = start_ms + np.arange(steps + 1, dtype=np.int64) * STEP_MS
    prices, rows = {}, []
    balance, open_pnl = np.zeros(steps + 1), np.zeros(steps + 1)
    gross, net = np.zeros(steps + 1), np.zeros(steps + 1)
    for number, symbol in enumerate(symbols):
        rng = np.random.default_rng([seed, number])
        price = 100.0 * np.cumprod(np.concatenate(([1.0], 1 + rng.standard_t(4, steps) * 0.0012)))
        prices[symbol] = price
        for trade, i in enumerate(range(12 + 5 * number, steps, every)):
            j = min(i + hold, steps)
            still = i + every >= steps
            up = price[j] >= price[i]
            right = rng.random() < 0.5 + skill
            side = 1.0 if up == right else -1.0
            qty = NOTIONAL / price[i]
            bought = price[i] * (1 + side * HALF_SPREAD)
            sold = price[j] * (1 - side * HALF_SPREAD)
            fees = -FEE * qty * (bought + (0.0 if still else sold))
            earned = 0.0 if still else side * (sold - bought) * qty
            end = steps if still else j
            held = np.arange(i, end + 1)
            open_pnl[held[:-1] if not still else held] += (
                side * (price[held[:-1] if not still else held] - bought) * qty
            )
            gross[held[:-1]] += qty * price[held[:-1]]
            net[held[:-1]] += side * qty * price[held[:-1]]
            balance[i:] -= FEE * qty * bought
            if not still:
                balance[end:] += earned - FEE * qty * sold
            rows.append(
                {
                    "symbol": symbol, "side": "long" if side > 0 else "short", "opened_ms": int(ts[i]) + 80,
                    "closed_ms": 0 if still else int(ts[j]) + 80, "qty": qty, "entry_price": bought,
                    "exit_price": 0.0 if still else sold, "entry_notional": qty * bought, "gross": earned, "fees": fees,
                    "funding": 0.0, "net": earned + fees, "net_bp": (earned + fees) / (qty * bought) * 1e4,
                    "best_bp": 0.0, "worst_bp": 0.0, "end": "open" if still else "horizon over", "strategy": "planted",
                    "model": "lightgbm", "version": "v0001", "entry_decision": f"{number}-{trade}-in",
                    "exit_decision": "" if still else f"{number}-{trade}-out", "mids": (price[i], price[j]),
                }
            )  # fmt: skip
    rows.sort(key=lambda row: (row["closed_ms"] == 0, row["closed_ms"]))
    decisions = DecisionFile(path)
    for row in rows:
        for name, mid in zip((row["entry_decision"], row["exit_decision"]), row["mids"], strict=True):
            if name:
                decisions.add(_decision(str(name), str(row["symbol"]), float(mid)))
    decisions.close()
    text = {"symbol", "side", "end", "strategy", "model", "version", "entry_decision", "exit_decision"}
    trades = Trades(
        **{
            name: np.array(
                [row[name] for row in rows],
                dtype=np.str_ if name in text else np.int64 if name.endswith("_ms") else np.float64,
            )
            for name in Trades.__dataclass_fields__
        }
    )
    curve = EquityCurve(ts, CASH + balance + open_pnl, CASH + balance, gross, net)
    run = Run(
        name=path.name, source="planted", files=(), symbols=symbols, seed=seed, from_ms=int(ts[0]), to_ms=int(ts[-1]),
        asked_to_ms=int(ts[-1]) + (DAY_MS if interrupted else 0), interrupted=interrupted,
        config=EngineConfig(mode="demo", symbols=symbols, strategy="planted", strategy_params=params or {}),
        settings_hash="s", strategy_hash="t", engine_hash="e", data_hash=f"d{seed}", inputs_hash="i", models=(),
        start_equity=CASH, result={"decisions_sha256": "abc", "trades": len(rows)},
    )  # fmt: skip
    write_run(path, run, curve, prices, trades)
    return path


def _decision(name: str, symbol: str, mid: float) -> Decision:
    return Decision(
        decision_id=name, ts_ms=0, symbol=symbol, mode="demo", strategy="planted", action="hold", reason="",
        verdict="none", checks=(), model="lightgbm", version="v0001", model_sha256="", row_hash="", expected_bp=0.0,
        p_up=0.5, p_down=0.5, provisional=False, bid=mid - 0.01, ask=mid + 0.01, position_qty=Decimal(0),
        qty=Decimal(0),
    )  # fmt: skip

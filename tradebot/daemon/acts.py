"""What a person's act comes to, in words."""

from __future__ import annotations

from tradebot.events import OperatorActed
from tradebot.trading.state import TradingState

ACTED = {"halt": "halted", "pause": "entries paused", "resume": "resumed"}


def outcome_of(event: OperatorActed, before: TradingState) -> str:
    """What ``event`` will do to a bot in state ``before``."""
    name = event.symbol
    held = [p.symbol for p in before.portfolio.open_positions() if name in ("", p.symbol)]
    strange = name in before.foreign
    match event.action:
        case "close" | "flatten":
            asked = f"closing {', '.join(held)}" if held else "no position to close"
            return f"halted, {asked}" if event.action == "flatten" else asked
        case "adopt":
            return f"{name}: position adopted" if strange else f"{name}: nothing foreign to adopt"
        case "ignore":
            return f"{name}: {'ignored' if strange else 'nothing foreign in it'}; the symbol is not traded"
        case _:
            left = before.paused if event.action == "resume" and not name else ()
            still = f"; still paused: {', '.join(sorted(left))}" if left else ""
            return f"{name or 'all symbols'}: {ACTED[event.action]}{still}"

"""Markets for the embedded exchange: recorded order books, recorded candles, or a seeded generator."""

from tradebot.sim.market.opening import open_market

__all__ = ["open_market"]

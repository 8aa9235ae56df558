"""Read-only books of other venues, on the grid of the venue that is traded on. Nothing is ever sent but subscriptions.

``binance`` and ``bybit`` say how a venue's book is kept and asked for, ``connection`` keeps a socket up, ``grid`` takes
the samples, ``books`` puts them together.
"""

"""Brokers: the same commands carried out on the exchange, or on paper against real books."""

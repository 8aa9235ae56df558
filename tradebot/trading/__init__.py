"""The deterministic core: strategy API, risk, order state, portfolio, engine. Pure: no I/O, no clock, no randomness."""

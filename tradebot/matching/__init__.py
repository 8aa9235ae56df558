"""A venue without input or output: books with queues, accounts, fees, margin, funding, liquidation, trigger orders.

The embedded exchange, the paper broker and the back-test all trade on :class:`tradebot.matching.venue.Venue`.
"""

"""The recorder: what the bot saw of the market, appended as it happens and rolled into the store day by day.

``records`` are what is kept, ``raw`` is today's append-only files, ``recorder`` turns events into records, ``roll``
turns finished days into partitions of the store (in a process of its own: nothing here imports it).
"""

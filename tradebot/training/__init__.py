"""From candles to a promoted model: dataset, purged splits, tuning, fit, honest evaluation, export, parity, gate."""

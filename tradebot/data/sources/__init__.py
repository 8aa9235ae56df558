"""Where history comes from: Bitget's and Binance's REST interfaces, and Tardis' recorded order books."""

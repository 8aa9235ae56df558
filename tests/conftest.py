"""What every test may rely on."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # tests started in the background (nohup, some CI) would hand that on to the commands they interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

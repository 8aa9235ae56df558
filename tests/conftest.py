"""What every test may rely on."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# how long an example may take is a question of how busy the machine is, and no property that is looked at here
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # tests started in the background (nohup, some CI) would hand that on to the commands they interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

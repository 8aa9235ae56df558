"""What stands between a typing mistake and real money."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tradebot.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from tradebot.settings import Credentials, LoadedSettings


def require_word(word: str, warning: str) -> None:
    """Return after ``word`` was typed on a terminal. Raises UsageError for anything else."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(f"this needs a person at a terminal who types {word!r}")
    sys.stderr.write(f"{warning}\nType {word!r} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != word:
        raise UsageError("not confirmed; nothing was done")


def guard_live(loaded: LoadedSettings, flag: bool, credentials: Credentials | None) -> None:
    """Live trading needs all of: ``mode: live`` in the configuration, ``--live``, a key, a word typed on a terminal.

    ``flag`` is whether ``--live`` was given. Raises ConfigError (78) or UsageError (2), each naming what is missing.
    """
    settings = loaded.settings
    origin = loaded.origins["mode"]
    if not flag:
        raise ConfigError(f"{origin.where}: mode is live; real orders also need: tradebot run --live")
    if settings.mode != "live" or origin.layer not in ("file", "environment"):
        where = origin.where if origin.layer in ("file", "environment") else "the configuration"
        raise ConfigError(f"{where}: --live also needs 'mode: live' in the configuration")
    if credentials is None:
        raise ConfigError(
            "live trading needs an exchange key: credentials bitget_key, bitget_secret and bitget_passphrase "
            "(systemd), or TRADEBOT_EXCHANGE__KEY, __SECRET and __PASSPHRASE"
        )
    limits = settings.risk
    require_word(
        "live",
        f"REAL MONEY on {settings.exchange.rest_url}: {settings.traded}, strategy "
        f"{settings.strategy.name}, up to {limits.max_position_notional} USDT a position, "
        f"{limits.max_gross_notional} USDT in all, {limits.max_daily_loss:%} of equity a day.",
    )

"""The error tree. Each class says what the bot does about it."""

from __future__ import annotations


class TradebotError(Exception):
    """Anything foreseeable. Commands print its text as one line and exit with ``exit_code``."""

    exit_code = 1


class ConfigError(TradebotError):
    """The configuration, a flag or a name in it is wrong. The process refuses to start."""

    exit_code = 78


class LibraryMissing(ConfigError):
    """What is asked for needs a package of an extra that is not installed. A bot that only serves goes on."""


class UsageError(TradebotError):
    """A command was called with arguments that make no sense together."""

    exit_code = 2


class DataError(TradebotError):
    """A file or a reply holds unusable data (gaps, duplicates, wrong columns). The job that needs it stops."""

    exit_code = 65


class BusyError(TradebotError):
    """A resource is taken (port, account lease, store lock, disk). Trying again later may help."""

    exit_code = 75


class ModelError(TradebotError):
    """A model file cannot be served (hash, schema, parity). The champion goes on serving."""

    exit_code = 65


class GateNotPassed(TradebotError):
    """A trained version was not better on honest evidence. The champion goes on serving."""

    exit_code = 3


class JournalError(DataError):
    """The write-ahead log cannot be read past a point, or cannot be written. No order is sent without it."""


class ExchangeError(TradebotError):
    """The exchange answered with an error, or did not answer."""

    exit_code = 69

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class AuthRefused(ExchangeError):
    """Key, passphrase, signature or permission refused. The process stops and does not restart by itself."""

    exit_code = 77


class Rejected(ExchangeError):
    """The venue refused the request and nothing happened. The same request is not sent again."""

    exit_code = 1


class OutcomeUnknown(ExchangeError):
    """The request may or may not have taken effect. Resolved by query, never by sending again."""


class RateLimited(ExchangeError):
    """Too many requests. Retried after a pause that doubles."""


class Unavailable(ExchangeError):
    """The venue is not reachable or in maintenance, and nothing was changed. Retried."""


class Unreadable(Unavailable):
    """The venue answered something that this program does not know. Asking again may help, waiting may not."""

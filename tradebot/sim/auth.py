"""Who may ask: request signatures and WebSocket logins (protocol sections 3 and 10.2).

A signed timestamp is accepted within 30 s of exchange time *or* of wall time: a client that knows nothing of an
accelerated exchange clock cannot follow it, and one that does follow it need not know the wall clock. This is a
choice of the simulator; the live exchange knows one clock only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from tradebot.sim.wire import Refusal

WINDOW_MS = 30_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key of the embedded exchange's one account.

    ``environment``: a live key is refused with the header ``paptrading: 1``, a demo key without it (40099); ``any``
    takes both. A ``read_only`` key may change nothing (40014). ``addresses`` are those it may be used from (40018),
    empty for all.
    """

    key: str = "demo-key"
    secret: str = "demo-secret"
    passphrase: str = "demo-pass"
    environment: Literal["any", "live", "demo"] = "any"
    read_only: bool = False
    addresses: tuple[str, ...] = ()


def signature(secret: str, prehash: str) -> str:
    """base64(HMAC-SHA256(secret, prehash)).

    >>> signature("secret", "1760000000GET/user/verify")
    'Tn3aZRimO/Hyd+C9EOJ4Og2ljfpLXQpwpAR1iz4tT8M='
    """
    return base64.b64encode(hmac.new(secret.encode(), prehash.encode(), hashlib.sha256).digest()).decode()


def check_request(
    credentials: Credentials,
    headers: Mapping[str, str],
    method: str,
    raw_path: str,
    body: bytes,
    clocks_ms: tuple[int, ...],
    address: str,
) -> None:
    """Pass a correctly signed request; raise :class:`Refusal` for the first thing wrong, in the documented order.

    ``raw_path`` is the request target as sent, with its query. The signature may cover the query as it stands in the
    URL or percent-decoded. ``clocks_ms`` are the clocks one of which the timestamp must agree with. ``address`` is
    where the request comes from.
    """
    for header, code, name in (
        ("ACCESS-KEY", "40001", "ACCESS_KEY"),
        ("ACCESS-SIGN", "40002", "ACCESS_SIGN"),
        ("ACCESS-TIMESTAMP", "40005", "ACCESS_TIMESTAMP"),
        ("ACCESS-PASSPHRASE", "40011", "ACCESS_PASSPHRASE"),
    ):
        if not headers.get(header):
            raise Refusal(code, f"Invalid {name}" if code == "40005" else f"{name} cannot be empty")
    timestamp = headers["ACCESS-TIMESTAMP"]
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise Refusal("40005", "Invalid ACCESS_TIMESTAMP")
    if not _within(int(timestamp), clocks_ms):
        raise Refusal("40008", "Request timestamp expired")
    if headers["ACCESS-KEY"] != credentials.key:
        raise Refusal("40006", "Invalid ACCESS_KEY")
    if not hmac.compare_digest(headers["ACCESS-PASSPHRASE"].encode(), credentials.passphrase.encode()):
        raise Refusal("40012", "apikey/password is incorrect")
    if not _signed(credentials.secret, headers["ACCESS-SIGN"], f"{timestamp}{method}", raw_path, body):
        raise Refusal("40009", "sign signature error")
    demo = headers.get("paptrading") == "1"
    if credentials.environment == ("live" if demo else "demo"):
        raise Refusal("40099", "exchange environment is incorrect")
    if credentials.read_only and method != "GET":
        raise Refusal("40014", "Incorrect permissions")
    if credentials.addresses and address not in credentials.addresses:
        raise Refusal("40018", "Invalid IP")


def _signed(secret: str, given: str, head: str, raw_path: str, body: bytes) -> bool:
    text = body.decode("utf-8", "replace")
    path, question, query = raw_path.partition("?")
    forms = (f"{head}{path}{question}{form}{text}" for form in {query, unquote(query)})
    return any(hmac.compare_digest(signature(secret, prehash).encode(), given.encode()) for prehash in forms)


def check_login(credentials: Credentials, arg: Mapping[str, Any], clocks_ms: tuple[int, ...]) -> None:
    """Pass a correct WebSocket login; raise :class:`Refusal` with a code of section 5.2. Seconds or milliseconds."""
    timestamp = str(arg.get("timestamp", ""))
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise Refusal("30013", "Invalid ACCESS_TIMESTAMP")
    stamp = int(timestamp)
    if not _within(stamp * 1000 if stamp < 100_000_000_000 else stamp, clocks_ms):
        raise Refusal("30014", "Request timestamp expired")
    if arg.get("apiKey") != credentials.key:
        raise Refusal("30011", "Invalid ACCESS_KEY")
    if arg.get("passphrase") != credentials.passphrase:
        raise Refusal("30012", "Invalid ACCESS_PASSPHRASE")
    expected = signature(credentials.secret, f"{timestamp}GET/user/verify")
    if not hmac.compare_digest(expected.encode(), str(arg.get("sign", "")).encode()):
        raise Refusal("30015", "Invalid sign")


def _within(timestamp_ms: int, clocks_ms: tuple[int, ...]) -> bool:
    return any(abs(timestamp_ms - clock) <= WINDOW_MS for clock in clocks_ms)

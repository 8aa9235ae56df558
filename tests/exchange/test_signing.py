from __future__ import annotations

import pytest

from tests.exchange.samples import fixture, wire
from tests.exchange.signed import signed_headers
from tradebot.exchange.bitget.signing import Credentials, login_argument, signature

KEY = Credentials("key", "secret", "pass")


@pytest.mark.parametrize(
    ("prehash", "expected"),
    [
        (
            b"1760000000000GET/api/v2/mix/account/accounts?productType=USDT-FUTURES",
            "vryXHRmQdpFpvHStQY11PVXEXBD6TPS9fqVDmB5ACDU=",
        ),
        (
            b'1760000000000POST/api/v2/mix/order/place-order{"symbol":"SOLUSDT","orderType":"market","force":"GTC",'
            b'"marginCoin":"USDT","size":"1","productType":"USDT-FUTURES","marginMode":"crossed","side":"buy"}',
            "YmMWGnIHRpefRr3cg3Y5vwPq38IrQSFqV5LkQrv5l6w=",
        ),
        (b"1760000000GET/user/verify", "Tn3aZRimO/Hyd+C9EOJ4Og2ljfpLXQpwpAR1iz4tT8M="),
        (b"1760000000000GET/user/verify", "+sucNnusc8rXtqqpiDfjGH3CEJ3oWxQAhJRIYKTLC80="),
    ],
)
def test_signatures_equal_the_published_ones(prehash: bytes, expected: str) -> None:
    assert signature("secret", prehash) == expected


def test_a_login_is_signed_over_seconds() -> None:
    assert login_argument(KEY, 1760000000) == {
        "apiKey": "key",
        "passphrase": "pass",
        "timestamp": "1760000000",
        "sign": "Tn3aZRimO/Hyd+C9EOJ4Og2ljfpLXQpwpAR1iz4tT8M=",
    }


def test_every_recorded_client_request_gets_its_signature() -> None:
    signed = 0
    for name, entry in fixture("ccxt_golden_requests").items():
        http = entry["http"]
        if entry["credentials"] is None:
            continue
        body = wire(http["body"]) if http["body"] is not None else b""
        headers = signed_headers(KEY, entry["clock_ms"], http["method"], http["path"], http["query"], body)
        for header, value in headers.items():
            assert http["headers"][header] == value, name
        signed += 1
    assert signed > 20


def test_a_secret_is_never_shown() -> None:
    credentials = Credentials("bg_0123456789abcdef", "very-secret", "my-pass")
    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert "very-secret" not in text
        assert "my-pass" not in text
        assert "0123456789abcdef" not in text

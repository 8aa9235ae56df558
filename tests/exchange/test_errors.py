from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.shared import shared_path
from tradebot.errors import AuthRefused, ExchangeError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from tradebot.exchange.bitget.errors import MEANING, SUCCESS, Meaning, Request, classify
from tradebot.trading.protection import NO_POSITION


@pytest.mark.parametrize(
    ("code", "read", "entry", "cancel", "adjust"),
    [
        ("40009", AuthRefused, AuthRefused, AuthRefused, AuthRefused),
        ("40085", AuthRefused, AuthRefused, AuthRefused, AuthRefused),
        ("429", RateLimited, RateLimited, RateLimited, RateLimited),
        ("40762", Rejected, Rejected, Rejected, Rejected),
        ("40034", Rejected, Rejected, Rejected, Rejected),
        ("40010", Unavailable, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown),
        ("40725", Unavailable, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown),
        ("45001", Unavailable, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown),
        ("40786", Unavailable, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown),
        ("43118", Unavailable, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown),
        ("22045", Unavailable, Unavailable, Unavailable, Unavailable),
        ("40008", Unavailable, Unavailable, Unavailable, Unavailable),
        ("40768", Rejected, Rejected, None, Rejected),
        ("43025", Rejected, Rejected, None, Rejected),
        ("22002", None, Rejected, None, None),
        ("40814", None, Rejected, None, None),
        ("99999", Rejected, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown),
    ],
)
def test_a_code_means_what_the_protocol_says_for_each_kind_of_request(
    code: str,
    read: type[ExchangeError] | None,
    entry: type[ExchangeError] | None,
    cancel: type[ExchangeError] | None,
    adjust: type[ExchangeError] | None,
) -> None:
    expected = {Request.READ: read, Request.ENTRY: entry, Request.CANCEL: cancel, Request.ADJUST: adjust}
    for request, kind in expected.items():
        error = classify(code, "some text", request, "place-order SOLUSDT")
        assert (None if error is None else type(error)) is kind, request
        if error is not None:
            assert error.code == code
            assert "\n" not in str(error)


def test_a_unified_account_gets_one_line_that_says_what_to_do() -> None:
    error = classify("40085", "whatever", Request.READ, "account SOLUSDT")
    assert "classic account" in str(error)


def test_no_code_is_classified_twice() -> None:
    from tradebot.exchange.bitget.errors import _TABLE

    assert sum(map(len, _TABLE.values())) == len(MEANING) > 150


CLASSES = {
    "A": {Meaning.FAULT, Meaning.AUTH},
    "B": {Meaning.BUSINESS},
    "R": {Meaning.RETRY, Meaning.CLOCK, Meaning.LIMIT},
    "N": {Meaning.DONE, Meaning.GONE},
    "U": {Meaning.UNKNOWN},
}
"""The protocol's classes of codes, in our terms."""


def table_of_codes() -> Iterator[tuple[str, str]]:
    """(code, class) of every row of the protocol's table 5.1; ranges are spelled out."""
    text = shared_path("docs/bitget-protocol.md").read_text(encoding="utf-8")
    section = text[text.index("### 5.1") : text.index("### 5.2")]
    for cells in re.findall(r"^\| ([\d, –]+)(?: [^|]*)?\|[^|]*\| ([^|]*) \|", section.replace("*", ""), re.MULTILINE):
        for part in re.findall(r"\d+(?:–\d+)?", cells[0]):
            first, _, last = part.partition("–")
            for number in range(int(first), int(last or first) + 1):
                yield str(number).zfill(len(first)), cells[1]


def test_every_code_of_the_protocol_has_the_class_it_says() -> None:
    codes = [(code, said) for code, said in table_of_codes() if code != SUCCESS]
    assert len(codes) > 200
    for code, said in codes:
        if {"R", "U"} <= set(re.findall(r"\b[RU]\b", said)):
            assert MEANING[code] is Meaning.UNSURE, code
        else:
            assert MEANING[code] in CLASSES[said[0]], code


def test_what_a_stop_is_refused_with_where_nothing_is_held_proves_that_nothing_happened() -> None:
    for code in NO_POSITION:
        assert isinstance(classify(code, "", Request.ADJUST, "place-tpsl-order"), Rejected)

"""What the exchange's error codes mean for the bot (protocol section 5). Decided by code, never by message text."""

from __future__ import annotations

from enum import Enum

from tradebot.errors import (
    AuthRefused,
    ExchangeError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)

SUCCESS = "00000"
TOO_MANY_REQUESTS = "429"


class Meaning(Enum):
    """What a code says about the request that got it."""

    FAULT = "our bug or configuration; nothing happened"
    AUTH = "key, signature, permission or account refused"
    BUSINESS = "refused for a business reason; nothing happened"
    RETRY = "refused for now; nothing happened"
    CLOCK = "timestamp outside the window; nothing happened"
    UNKNOWN = "may or may not have happened"
    UNSURE = "may have happened if it was order entry, else a retryable read"
    DONE = "nothing left to do"
    GONE = "no such order: done when cancelling, else refused"
    LIMIT = "too many requests; nothing happened"


class Request(Enum):
    """What kind of request failed: the same code means different things."""

    READ = "a query"
    ENTRY = "a new order"
    CANCEL = "a cancellation"
    ADJUST = "a stop, a close or a setting: repeating it does no harm"


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TABLE: dict[Meaning, tuple[str, ...]] = {
    Meaning.FAULT: _codes(
        "00001 00171 00172 400171 400172 22003 22004 40005 40007 40017 40064 40808 40019 40020 40034 40053 40054 40057"
        " 40058 40059 40072 40102 40404 40704 40705 40707 40716 40774 40797 43050 45045 40811 40812 40813 40845 41113"
        " 40912 40919 40924 40925 43011 43028 45035 45115 45021 43075"
    ),
    Meaning.AUTH: _codes(
        "40001 40002 40003 40006 40037 40041 40009 40011 40012 40036 40013 40022 40023 40024 40025 40026 40031 40014"
        " 40040 40016 40035 40101 40018 40038 40085 40099 40103 40104 40710 40760 45009"
    ),
    Meaning.BUSINESS: _codes(
        "22006 22007 22008 22009 22034 22038 40109 40715 40723 40761 40730 40754 40756 40755 40757 40758 40762 40764"
        " 40765 40766 40800 40804 40815 40816 40889 40890 43071 40891 43023 40893 40915 40917 43013 43014 43015 43016"
        " 45060 45061 45062 45063 45064 45065 45066 45067 45122 40829 40830 40831 40832 40833 40834 40835 40836 40920"
        " 40921 45112 40928 40939 43005 43006 43007 45111 43008 43009 43010 43027 43037 43038 43039 43040 43041 43042"
        " 43012 43034 43035 45002 45003 45004 45005 45006 45007 45008 45097 45110 45113 45116 45117 45119 45107 45108"
        " 45120 43043"
    ),
    Meaning.RETRY: _codes(
        "22043 22044 22067 22045 40078 40200 40844 41114 43115 45043 43002 43003 45129"
    ),
    Meaning.CLOCK: _codes("40004 40008"),
    Meaning.UNKNOWN: _codes("40786 43118 45034 45001"),
    Meaning.UNSURE: _codes("40010 40015 40725 50008"),
    Meaning.DONE: _codes("22001 22002 40084 40814 45054 40922 40923 43030 43031 45055 45056 45031 50062"),
    Meaning.GONE: _codes("40768 43001 43004 43020 43021 43025 43026 43033 45057 31007 80011 40819"),
    Meaning.LIMIT: _codes("429"),
}  # fmt: skip

MEANING: dict[str, Meaning] = {code: meaning for meaning, codes in _TABLE.items() for code in codes}

DUPLICATE_CLIENT_OID = frozenset(_codes("40786 43118 45034"))
ORDER_NOT_FOUND = frozenset((*_TABLE[Meaning.GONE], "40109"))

UNIFIED = "40085"
"""The classic interface was called with a unified account's key."""

OTHER_ENVIRONMENT = "40099"
"""The key belongs to the other of demo and live."""

ADVICE = {
    UNIFIED: "this is a unified (UTA) account, which the futures interface of classic accounts does not serve;"
    " use the key of a classic account or sub-account",
    OTHER_ENVIRONMENT: "the key belongs to the other environment: demo keys work in exchange-demo mode only, live keys"
    " in live",
    "40018": "this machine's address is not on the key's whitelist",
    "40038": "this machine's address is not on the key's whitelist",
    "40014": "the key lacks the permission to trade futures",
    "40040": "the key lacks the permission to trade futures",
}


def classify(code: str, message: str, request: Request, what: str) -> ExchangeError | None:
    """The error that a refused request raises, or None when the refusal means that nothing is left to do.

    ``what`` names the request for the one-line message, e.g. ``place-order SOLUSDT``. A code this table does not know
    counts as *outcome unknown* where an order may exist because of it, and as a rejection elsewhere.
    """
    text = f"Bitget refused {what}: {ADVICE.get(code, message or 'no message')} (code {code})"
    may_act = request is not Request.READ
    meaning = MEANING.get(code, Meaning.UNKNOWN if may_act else Meaning.FAULT)
    if meaning is Meaning.UNSURE:
        meaning = Meaning.UNKNOWN if may_act else Meaning.RETRY
    match meaning:
        case Meaning.DONE:
            # "no position to close" as the answer to a new order means that the order does not exist
            return Rejected(text, code=code) if request is Request.ENTRY else None
        case Meaning.GONE:
            return None if request is Request.CANCEL else Rejected(text, code=code)
        case Meaning.AUTH:
            return AuthRefused(text, code=code)
        case Meaning.LIMIT:
            return RateLimited(text, code=code)
        case Meaning.RETRY | Meaning.CLOCK:
            return Unavailable(text, code=code)
        case Meaning.UNKNOWN if may_act:
            return OutcomeUnknown(text, code=code)
        case Meaning.UNKNOWN:
            return Unavailable(text, code=code)
        case _:
            return Rejected(text, code=code)


STREAM_AUTH = frozenset(_codes("30005 30011 30012 30015 30016"))
"""Login refused for good (section 5.2)."""

STREAM_CLOCK = frozenset(_codes("30013 30014"))
STREAM_LOGIN_NEEDED = "30004"
STREAM_OVERLOAD = frozenset(_codes("30006 30007"))
STREAM_NO_SUCH_CHANNEL = "30001"

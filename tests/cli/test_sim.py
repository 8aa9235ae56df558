"""Options of ``tradebot sim`` that make no sense."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Tradebot


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--generated-symbols", "3", "--symbol", "SOLUSDT"), "--generated-symbols makes its own market"),
        (("--book-interval", "soon"), "--book-interval"),
        (("--book-interval", "0ms"), "--book-interval: must be longer than nothing"),
        (("--break-days", "-1"), "'--break-days'"),
        (("--break-days", "3", "--market", "."), "--break-days is for generated markets"),
        (("--disconnect-after", "0s"), "--disconnect-after: must be longer than nothing"),
        (("--cash", "-1"), "--cash -1: expected a positive amount"),
        (("--cash", "1e400"), "--cash 1e400: must be at most"),
        (("--history-days", "999999999999"), "'--history-days'"),
    ],
)
def test_options_that_make_no_sense_are_one_line(tradebot: Tradebot, options: tuple[str, ...], said: str) -> None:
    output = tradebot("sim", *options)
    assert output.code == 2
    assert said in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert output.out == ""

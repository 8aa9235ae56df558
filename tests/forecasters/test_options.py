"""What a person sets of a family, and the line that refuses it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from tradebot.errors import ConfigError
from tradebot.forecasters.options import options_of


class Set(msgspec.Struct, kw_only=True):
    size: Annotated[int, msgspec.Meta(ge=1)] = 1
    deep: bool = False
    kind: Literal["tree", "net"] = "tree"
    spans: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.size > 5 and not self.deep:
            raise ValueError(f"size: {self.size} - at 5 and more - needs deep")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": "0"}, "mine: option size: Expected `int` >= 1"),
        ({"deep": "maybe"}, "mine: option deep: 'maybe' is none of true, false"),
        ({"kind": "bush"}, "mine: option kind: 'bush' is none of net, tree"),
        ({"spans": ["a"]}, "mine: option spans[0]: Expected `int`, got `str`"),
        ({"size": 7}, "mine: size: 7 - at 5 and more - needs deep"),
        ({"sise": 7}, "mine has no option 'sise'; it has: size, deep, kind, spans"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_it_may_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options_of(Set, "mine", given)
    assert str(caught.value) == said

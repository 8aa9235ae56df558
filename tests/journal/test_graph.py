"""An object graph is the same after it was written and read, down to what is shared."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import suppress
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.records import decision
from tradebot.errors import DataError
from tradebot.journal.graph import capture, restore

LOCAL = {__name__: globals()}


class Slotted:
    __slots__ = ("left", "right", "unset")


class Pair(NamedTuple):
    low: float
    high: list[int]


class Memory(dict[str, int]):
    """Not only its attributes."""


class Rude:
    def __repr__(self) -> str:
        raise OSError("no")


class Node:
    """An object of a class of the test's, which is named as a strategy's file is."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def greet(self) -> str:
        return f"I am {self.name}"  # type: ignore[attr-defined]


def again(item: Any) -> Any:
    return restore(capture(item, local=LOCAL), local=LOCAL)


plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.decimals(allow_nan=False),
)  # fmt: skip
graphs = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text(), inner), st.sets(st.text()),
        st.frozensets(st.integers()), st.lists(inner).map(lambda x: deque(x, maxlen=9)),
    ),
    max_leaves=20,
)  # fmt: skip


@given(graphs)
def test_whatever_is_made_of_plain_things_is_equal_and_gives_equal_bytes(item: Any) -> None:
    read = again(item)
    assert read == item
    assert type(read) is type(item)
    assert capture(read) == capture(item)


def test_numbers_keep_their_exact_form() -> None:
    for item in (Decimal("1.10"), Decimal("-0"), 2**70, -(2**63) - 1, True, 1, 1.0, float("inf"), -0.0):
        read = again([item])[0]
        assert repr(read) == repr(item)
        assert type(read) is type(item)


def test_what_is_shared_stays_shared_and_circles_close() -> None:
    both: list[int] = [1]
    item = Node(name="a", left=both, right=both)
    item.me = item  # type: ignore[attr-defined]
    item.shown = MappingProxyType({"x": both})  # type: ignore[attr-defined]
    read = again(item)
    read.left.append(2)
    assert read.right == [1, 2]
    assert read.me is read
    assert read.shown["x"] == [1, 2]


def test_a_shown_dict_is_the_one_that_is_written_to() -> None:
    table = {"a": 1}
    read = again(Node(table=table, shown=MappingProxyType(table)))
    read.table["b"] = 2
    assert read.shown["b"] == 2


def test_views_of_arrays_stay_views() -> None:
    memory = np.arange(12.0)
    item = Node(memory=memory, part=memory[3:6], strided=memory.reshape(3, 4)[:, 1])
    read = again(item)
    read.memory[3:6] = -1
    assert list(read.part) == [-1, -1, -1]
    assert list(read.strided) == [1, -1, 9]
    assert read.memory.dtype == memory.dtype


def test_containers_objects_methods_and_structs_come_back() -> None:
    count: defaultdict[str, list[int]] = defaultdict(list, a=[1])
    node = Node(name="n")
    slotted = Slotted()
    slotted.left, slotted.right = 1, node
    item = Node(
        count=count, order=OrderedDict(b=1, a=2), tally=Counter("aab"), call=node.greet, slotted=slotted,
        told=decision("d1"), kind=Node, one=np.float32(0.1), pair={("a", 1), ("b", 2)},
    )  # fmt: skip
    read = again(item)
    read.count["new"].append(2)
    assert read.count == {"a": [1], "new": [2]}
    assert list(read.order) == ["b", "a"]
    assert read.tally == Counter("aab")
    read.slotted.right.name = "m"
    assert read.call() == "I am m"
    assert not hasattr(read.slotted, "unset")
    assert read.told == decision("d1")
    assert read.kind is Node
    assert read.one.tobytes() == np.float32(0.1).tobytes()
    assert read.pair == {("a", 1), ("b", 2)}


def test_what_the_shell_put_in_is_replaced() -> None:
    item = Node(name="n", watch=threading.Lock())
    with pytest.raises(DataError, match=r"Node\.watch: .*lock cannot be kept"):
        capture(item, local=LOCAL)
    assert restore(capture(item, local=LOCAL, instead={(Node, "watch"): None}), local=LOCAL).watch is None


@pytest.mark.parametrize("item", [random.Random(1), threading.Thread(), (x for x in ()), lambda: 1, sys])
def test_what_cannot_be_kept_is_named_with_the_way_to_it(item: object) -> None:
    with pytest.raises(DataError, match=r"Node\.inside\[1\]\['k'\]: .* cannot be kept in a snapshot"):
        capture(Node(inside=[0, {"k": item}]), local=LOCAL)


def test_named_tuples_and_the_methods_of_containers_come_back() -> None:
    rows = [1, 2]
    read = again(Node(pair=Pair(0.5, rows), add=rows.append))
    assert isinstance(read.pair, Pair)
    read.add(3)
    assert read.pair == (0.5, [1, 2, 3])


def deep() -> list[Any]:
    whole = inside = []
    for _ in range(5_000):
        inside.append([])
        inside = inside[0]
    return whole


@pytest.mark.parametrize(
    "item",
    [
        Memory(a=1), deep(), {Rude()}, np.ma.masked_array([1.0], mask=[True]),
        np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]), dict.fromkeys,
    ],
    ids=["dict of its own", "deep", "repr that raises", "masked", "fields", "of a class"],
)  # fmt: skip
def test_what_a_strategy_remembers_is_kept_or_refused_when_it_is_written(item: object) -> None:
    with pytest.raises(DataError):
        capture(Node(inside=item), local=LOCAL)


def test_a_file_can_name_nothing_but_our_own_classes() -> None:
    for name in ("os:system", "subprocess:Popen", "builtins:eval", "tradebotx:y"):
        data = msgspec.msgpack.encode(([0], [["name", name]]))
        with pytest.raises(DataError, match="cannot be read"):
            restore(data)


@given(st.binary(max_size=60))
def test_damaged_bytes_are_an_error_of_ours(junk: bytes) -> None:
    whole = capture(Node(a=[1, {"b": (2, 3)}]), local=LOCAL)
    for data in (junk, whole[: len(whole) // 2] + junk):
        with suppress(DataError):  # and nothing else
            restore(data, local=LOCAL)


def test_sets_are_written_in_one_order_in_every_process() -> None:
    code = "from tradebot.journal.graph import capture; print(capture({'a','b','c','d',('e',1)}).hex())"
    given_ = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert given_[0].stdout == given_[1].stdout

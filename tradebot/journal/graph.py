"""An object graph as plain bytes and back: the engine with everything it knows, for a snapshot.

The engine is plain data in objects of its own classes. They are written down attribute by attribute, whatever they
are, so that nothing a decision depends on can be forgotten; shared objects stay shared, and arrays that are views of
others stay views. Reading runs no code of the file: it makes instances of known classes and sets their attributes.

What can be kept: None, bool, int, float, str, bytes, Decimal, lists, tuples, dicts, sets, deques, NumPy arrays and
numbers, enum members, msgspec structs, named tuples and objects of classes in ``tradebot`` or in a module that is
named, such classes and functions themselves, feature views by their name, and bound methods of all these. Whatever
else there is is refused when it is written: what could not be read again must never stand for a beginning.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection, Mapping
from decimal import Decimal
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import msgspec
import numpy as np

from tradebot.errors import DataError
from tradebot.features.views import VIEWS, View

Instead = Mapping[tuple[type, str], object]
"""By class and attribute: what is written down in place of the attribute's value."""
Local = Mapping[str, Mapping[str, Any]]
"""Modules that were not imported by name, as the names in them, by the module's name."""

_OURS = "tradebot"
_LARGEST = 2**63
_PLAIN = (bool, float, str, bytes)
_PLAIN_KINDS = frozenset({type(None), int, *_PLAIN})
_OTHERS: tuple[type, ...] = (list, dict, set, int, float, str, bool, deque, msgspec.Struct)
"""Types of others that may be named: what a defaultdict is made of, and what has no fields."""
_OTHER_NAMES = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in _OTHERS}
_DICTS: dict[str, type] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter, "defaultdict": defaultdict}


def capture(root: object, *, local: Local | None = None, instead: Instead | None = None) -> bytes:
    """The graph that hangs on ``root``. Equal graphs give equal bytes.

    Raises DataError that names the way to what cannot be kept, and nothing else: what hangs on the engine is a user's.
    """
    writing = _Writing(local or {}, instead or {})
    try:
        value = writing.value(root, type(root).__name__)
        return msgspec.msgpack.encode((value, writing.nodes))
    except DataError:
        raise
    except RecursionError:
        raise DataError(f"{type(root).__name__}: things lie too deep in each other to be kept in a snapshot") from None
    except Exception as error:  # a repr of somebody's, for one
        why = f"{type(error).__name__}: {error}"
        raise DataError(f"{type(root).__name__} cannot be kept in a snapshot ({why})") from error


def restore(data: bytes, *, local: Local | None = None) -> Any:
    """The graph that ``capture`` wrote. Raises DataError when it is damaged or a class of it is gone."""
    try:
        value, nodes = msgspec.msgpack.decode(data)
        return _Reading(nodes, local or {}).value(value)
    except (
        msgspec.DecodeError, TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        raise DataError(f"the snapshot of the engine cannot be read ({type(error).__name__}: {error})") from error


class _Writing:
    """Every object is a node, written once; a value is a plain one or ``[index of its node]``."""

    def __init__(self, local: Local, instead: Instead) -> None:
        self.nodes: list[Any] = []
        self._local = local
        self._instead = instead
        self._known: dict[int, int] = {}
        self._slots: dict[type, tuple[str, ...]] = {}
        self._alive: list[object] = []
        """What was written stays alive, so that no other object gets its id."""

    def value(self, item: object, way: str) -> Any:
        if item is None or type(item) in _PLAIN or (type(item) is int and -_LARGEST <= item < _LARGEST):
            return item
        index = self._known.get(id(item))
        if index is None:
            index = self._known[id(item)] = len(self.nodes)
            self._alive.append(item)
            self.nodes.append(None)
            self.nodes[index] = self._node(item, way)
        return [index]

    def _node(self, item: Any, way: str) -> list[Any]:
        kind = type(item)
        if kind is int:
            return ["int", str(item)]
        if kind is Decimal:
            return ["Decimal", str(item)]
        if kind in (list, tuple):
            return [kind.__name__, self._values(item, way)]
        if kind in (set, frozenset):
            # in an order of their own: that of a set is another one in every process
            return [kind.__name__, [self.value(x, f"{way}{{}}") for x in sorted(item, key=repr)]]
        if kind is deque:
            return ["deque", self._values(item, way), item.maxlen]
        if kind in _DICTS.values():
            plain = _all_plain(item) and _all_plain(item.values())
            pairs = list(item.items()) if plain else self._pairs(item, way)
            made_by = [self.value(item.default_factory, way)] if kind is defaultdict else []
            return [kind.__name__, pairs, *made_by]
        if kind is MappingProxyType:
            return ["proxy", self.value(gc.get_referents(item)[0], way)]
        if isinstance(item, np.ndarray):
            return self._array(item, way)
        if isinstance(item, np.generic):
            return ["number", item.dtype.str, item.tobytes()]
        if isinstance(item, Enum):
            return ["enum", self._name(kind, way), item.name]
        if isinstance(item, MethodType) or (kind is BuiltinFunctionType and _is_bound(item)):
            return ["method", self.value(item.__self__, f"{way}.__self__"), item.__name__]
        if isinstance(item, type | FunctionType | BuiltinFunctionType):
            return ["name", self._name(item, way)]
        if isinstance(item, View) and VIEWS.get(item.name) is item:
            return ["features", item.name]
        name = self._name(kind, way)
        if isinstance(item, tuple) and hasattr(kind, "_fields") and not getattr(item, "__dict__", None):
            return ["named", name, self._values(item, way)]
        if _is_more_than_attributes(kind):
            raise DataError(f"{way}: {name} holds more than its attributes: it cannot be kept in a snapshot")
        return ["object", name, self._attributes(item, way)]

    def _values(self, items: Any, way: str) -> list[Any]:
        if _all_plain(items):
            return list(items)
        return [self.value(x, f"{way}[{i}]") for i, x in enumerate(items)]

    def _pairs(self, items: Any, way: str) -> list[Any]:
        return [(self.value(k, f"{way} key"), self.value(v, f"{way}[{k!r}]")) for k, v in items.items()]

    def _array(self, item: Any, way: str) -> list[Any]:
        if type(item) is not np.ndarray or item.dtype.hasobject or item.dtype.names is not None:
            raise DataError(f"{way}: an array of objects, of fields or of another kind cannot be kept in a snapshot")
        base = item
        while isinstance(base.base, np.ndarray):
            base = base.base
        if base is item or not base.flags.c_contiguous:
            return ["array", item.dtype.str, list(item.shape), np.ascontiguousarray(item).tobytes()]
        offset = item.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return ["view", self.value(base, way), item.dtype.str, list(item.shape), list(item.strides), offset]

    def _attributes(self, item: Any, way: str) -> list[Any]:
        kind = type(item)
        if isinstance(item, msgspec.Struct):
            names = list(kind.__struct_fields__)
        else:
            if kind not in self._slots:
                self._slots[kind] = _slots(kind)
            names = [*self._slots[kind], *vars(item)] if hasattr(item, "__dict__") else list(self._slots[kind])
        pairs = []
        for name in names:
            if hasattr(item, name):
                held = self._instead.get((kind, name), getattr(item, name))
                pairs.append([name, self.value(held, f"{way}.{name}")])
        return pairs

    def _name(self, item: Any, way: str) -> str:
        module, name = item.__module__ or "", item.__qualname__
        own = module == _OURS or module.startswith(f"{_OURS}.")
        if (module in self._local or own or item in _OTHERS) and "<" not in name:
            return f"{module}:{name}"
        raise DataError(f"{way}: {module}.{name} cannot be kept in a snapshot")


class _Reading:
    def __init__(self, nodes: list[Any], local: Local) -> None:
        self._nodes = nodes
        self._local = local
        self._made: dict[int, Any] = {}

    def value(self, told: Any) -> Any:
        if not isinstance(told, list):
            return told
        index = told[0]
        if index not in self._made:
            self._make(index, *self._nodes[index])
        return self._made[index]

    def _make(self, index: int, kind: str, *parts: Any) -> None:
        made = self._made
        if kind in _DICTS:
            made[index] = defaultdict(self.value(parts[1])) if kind == "defaultdict" else _DICTS[kind]()
            for key, item in parts[0]:
                made[index][self.value(key)] = self.value(item)
        elif kind == "list":
            made[index] = []
            made[index].extend(self.value(item) for item in parts[0])
        elif kind == "deque":
            made[index] = deque(maxlen=parts[1])
            made[index].extend(self.value(item) for item in parts[0])
        elif kind == "object":
            self._make_object(index, *parts)
        else:
            made[index] = self._immutable(kind, *parts)

    def _immutable(self, kind: str, *parts: Any) -> Any:
        match kind:
            case "int":
                return int(parts[0])
            case "Decimal":
                return Decimal(parts[0])
            case "tuple":
                return tuple(self.value(item) for item in parts[0])
            case "named":
                return tuple.__new__(self._named(parts[0]), [self.value(item) for item in parts[1]])
            case "set":
                return {self.value(item) for item in parts[0]}
            case "frozenset":
                return frozenset(self.value(item) for item in parts[0])
            case "proxy":
                return MappingProxyType(self.value(parts[0]))
            case "array":
                return np.frombuffer(parts[2], dtype=parts[0]).reshape(parts[1]).copy()
            case "view":
                base, dtype, shape, strides, offset = parts
                return np.ndarray(shape, dtype, self.value(base), offset, strides)
            case "number":
                return np.frombuffer(parts[1], dtype=parts[0])[0]
            case "enum":
                return self._named(parts[0])[parts[1]]
            case "name":
                return self._named(parts[0])
            case "features":
                return VIEWS[parts[0]]
            case "method":
                return getattr(self.value(parts[0]), parts[1])
        raise ValueError(f"unknown kind {kind!r}")

    def _make_object(self, index: int, name: str, pairs: list[Any]) -> None:
        kind = self._named(name)
        if issubclass(kind, msgspec.Struct):
            # frozen: whole at once, and nothing in it can point back at it
            self._made[index] = kind(**{field: self.value(item) for field, item in pairs})
            return
        made = self._made[index] = object.__new__(kind)
        for field, item in pairs:
            object.__setattr__(made, field, self.value(item))

    def _named(self, name: str) -> Any:
        module, _, path = name.partition(":")
        names = path.split(".")
        if module in self._local:
            found = self._local[module][names[0]]
        elif name in _OTHER_NAMES:
            return _OTHER_NAMES[name]
        elif module == _OURS or module.startswith(f"{_OURS}."):
            found = getattr(sys.modules.get(module) or importlib.import_module(module), names[0])
        else:
            raise ValueError(f"{name} is none of ours")
        for part in names[1:]:
            found = getattr(found, part)
        return found


def _all_plain(items: Collection[Any]) -> bool:
    """Whether all of them are written as they are. Of long rows of numbers and texts this alone is looked at."""
    kinds = set(map(type, items))
    if not kinds <= _PLAIN_KINDS:
        return False
    return int not in kinds or all(-_LARGEST <= item < _LARGEST for item in items if type(item) is int)


def _is_bound(function: BuiltinFunctionType) -> bool:
    """Whether it is a method of an object (``rows.append``), not a function of a module or class."""
    return not isinstance(function.__self__, type | ModuleType | None)


def _is_more_than_attributes(kind: type) -> bool:
    """Whether its objects hold something that no attribute shows, as those of a class derived from ``dict`` do."""
    return any(base.__module__ == "builtins" and base is not object for base in kind.__mro__)


def _slots(kind: type) -> tuple[str, ...]:
    """Names of the attributes that objects of a class have no ``__dict__`` for."""
    found: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        found += (slots,) if isinstance(slots, str) else slots
    return tuple(dict.fromkeys(name for name in found if name not in ("__dict__", "__weakref__")))

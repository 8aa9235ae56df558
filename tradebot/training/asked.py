"""What a person asked of a training, given to the family: its options, parameters the search must leave, how long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tradebot.errors import ConfigError
from tradebot.forecasters.base import Family, Params, family
from tradebot.jobs import RetrainJob

DEFAULT_EPOCHS = 100
RATE, BATCH = ("learning_rate", "lr"), ("batch_size", "batch")
"""Names under which families know the learning rate and the rows of one step."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The family as it is set, ``fixed`` parameters of its fits, and their most ``rounds`` or epochs."""

    kind: Family
    fixed: Params
    rounds: int


def asked_for(job: RetrainJob) -> Asked:
    """The family with everything the job says. Raises ConfigError for what it does not have, naming what it has."""
    plain = family(job.model, {}, job.interval)
    rounds = _rounds(job, plain)
    options, defaults = dict(plain.options), plain.defaults(rounds)
    given: dict[str, float | int | str | bool] = dict(job.options)
    for flag, value, names in (("lr", job.lr, RATE), ("batch-size", job.batch_size, BATCH)):
        if value is None:
            continue
        known = [name for name in names if name in defaults or name in options]
        if not known:
            raise ConfigError(f"{job.model} has no --{flag}; {_has(options, defaults)}")
        given[known[0]] = value
    if job.epochs is not None and "epochs" in options:
        given["epochs"] = job.epochs
    if job.device != "auto" and "device" in options:
        given["device"] = job.device
    elif job.device == "cuda":
        raise ConfigError(f"{job.model} is fitted on the CPU; leave --device away")
    unknown = [name for name in given if name not in options and name not in defaults]
    if unknown:
        raise ConfigError(f"{job.model} has no option {unknown[0]!r}; {_has(options, defaults)}")
    chosen = {name: value for name, value in given.items() if name in options}
    fixed = {name: _like(job.model, name, given[name], default) for name, default in defaults.items() if name in given}
    return Asked(family(job.model, chosen, job.interval), {**fixed, **job.params}, rounds)


def _rounds(job: RetrainJob, kind: Family) -> int:
    if kind.counts == "none":
        return 1
    if kind.counts == "rounds":
        if job.epochs is not None:
            raise ConfigError(f"{job.model} is fitted by rounds; say --rounds instead of --epochs")
        return job.rounds
    return job.epochs if job.epochs is not None else int(kind.options.get("epochs", DEFAULT_EPOCHS))


def _has(options: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    return f"it has: {', '.join([*options, *(name for name in defaults if name not in options)]) or 'none'}"


def _like(
    model: str, name: str, value: float | int | str | bool, default: float | int | str | bool
) -> float | int | str | bool:
    """``value`` (perhaps text) as what parameter ``name`` is; no number is negative. Raises ConfigError."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if not isinstance(default, int | float):
            return str(value)
        number = int(str(value)) if isinstance(default, int) else float(value)
    except (KeyError, ValueError):
        raise ConfigError(f"{model}: {name} is like {default}, not {value!r}") from None
    if not 0 <= number < math.inf:
        raise ConfigError(f"{model}: {name} is a number from 0 on, like {default}, not {value}")
    return number

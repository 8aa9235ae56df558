"""A search kept in one file, replaced as a whole after every trial.

Only trials that were told are kept: one that an interruption cut off never was, so it is asked again and cannot weigh
on the pruner.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tradebot.ops.files import write_atomic


class StoredTrial(msgspec.Struct, frozen=True):
    """A trial that was told: everything the sampler and the pruner know of it."""

    state: str
    value: float | None
    params: dict[str, Any]
    distributions: dict[str, str]
    intermediate: dict[str, float]
    system: dict[str, Any]


class StoredStudy(msgspec.Struct, frozen=True):
    """``fingerprint`` says which rows, space and limits the trials belong to."""

    fingerprint: str
    optuna: str
    trials: list[StoredTrial]


class StudyFile:
    """The file of one search. Raises BusyError or DataError when it cannot be written."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._fingerprint = fingerprint

    def trials(self) -> list[FrozenTrial]:
        """The trials of an earlier run of this very search; none where there was none, or where it was another."""
        try:
            stored = msgspec.json.decode(self.path.read_bytes(), type=StoredStudy)
        except (OSError, msgspec.DecodeError):
            return []
        if (stored.fingerprint, stored.optuna) != (self._fingerprint, optuna.__version__):
            return []
        return [
            create_trial(
                state=TrialState[trial.state],
                value=trial.value,
                params=trial.params,
                distributions={name: json_to_distribution(text) for name, text in trial.distributions.items()},
                intermediate_values={int(step): value for step, value in trial.intermediate.items()},
                system_attrs=trial.system,
            )
            for trial in stored.trials
        ]

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        """Keep the trials told so far."""
        told = [
            StoredTrial(
                state=trial.state.name,
                value=None if trial.state == TrialState.FAIL else trial.value,
                params=trial.params,
                distributions={name: distribution_to_json(kind) for name, kind in trial.distributions.items()},
                intermediate={str(step): value for step, value in trial.intermediate_values.items()},
                system=trial.system_attrs,
            )
            for trial in trials
            if trial.state.is_finished()
        ]
        stored = StoredStudy(self._fingerprint, optuna.__version__, told)
        write_atomic(self.path, msgspec.json.encode(stored))

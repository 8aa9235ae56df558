"""What ``config check`` finds of models and their options, found by a process of its own.

Families import the libraries that train; the process that trades imports none of them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tradebot.cli.output import progress
from tradebot.errors import ConfigError
from tradebot.ops.process import die_with_parent

if TYPE_CHECKING:
    from tradebot.settings import Settings

LONGEST_S = 120.0
"""A check that takes longer is no verdict."""


@contextlib.contextmanager
def models_checked(settings: Settings) -> Iterator[None]:
    """Checks the models of ``settings`` while the block runs, and waits for it at its end.

    Raises ConfigError for a name or an option that cannot be. A check that cannot be made is a line on stderr: a bot
    serves what it has without the libraries that train.
    """
    try:
        beside = subprocess.Popen(
            [sys.executable, "-m", "tradebot.cli.checked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process
            preexec_fn=die_with_parent,
        )
    except (OSError, subprocess.SubprocessError) as error:
        yield
        return _unchecked(str(error))
    with beside:
        try:
            assert beside.stdin is not None
            with contextlib.suppress(BrokenPipeError), beside.stdin:
                beside.stdin.write(settings.model_dump_json())
            beside.stdin = None
            yield
            said, _ = beside.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            return _unchecked(f"the check took more than {LONGEST_S:g} s")
        finally:
            beside.kill()
    if beside.returncode == ConfigError.exit_code:
        raise ConfigError(said.strip())
    for why in said.splitlines():
        _unchecked(why)
    if beside.returncode and not said:
        _unchecked(f"the check ended before it was done (code {beside.returncode}; memory?)")
    return None


def _unchecked(why: str) -> None:
    progress(f"models and their options were not all checked: {why}")


def main() -> int:
    """Check the settings on stdin, as JSON; gives the exit code and says on stdout what is wrong, or not known."""
    try:
        from tradebot.cli.training_options import check_models
        from tradebot.settings import Settings

        for missing in check_models(Settings.model_validate(json.load(sys.stdin))):
            print(missing)
    except ConfigError as error:
        print(error)
        return error.exit_code
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

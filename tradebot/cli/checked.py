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

from tradebot.errors import BusyError, ConfigError, TradebotError
from tradebot.ops.process import die_with_parent

if TYPE_CHECKING:
    from tradebot.settings import Settings


@contextlib.contextmanager
def models_checked(settings: Settings) -> Iterator[None]:
    """Checks the models of ``settings`` while the block runs, and waits for it at its end.

    Raises ConfigError for a model that cannot be, BusyError when the other process ended before it was done.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tradebot.cli.checked"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process
        preexec_fn=die_with_parent,
    ) as beside:
        try:
            assert beside.stdin is not None
            with contextlib.suppress(BrokenPipeError), beside.stdin:
                beside.stdin.write(settings.model_dump_json())
            beside.stdin = None
            yield
            said, _ = beside.communicate()
        finally:
            beside.kill()
    if beside.returncode == ConfigError.exit_code:
        raise ConfigError(said.strip())
    if beside.returncode:
        raise BusyError(
            f"the check of the configuration's models ended before it was done (code {beside.returncode}; memory?); "
            "try again"
        )


def main() -> int:
    """Check the settings on stdin, as JSON; gives the exit code and says on stdout what is wrong."""
    from tradebot.cli.training_options import check_models
    from tradebot.settings import Settings

    try:
        check_models(Settings.model_validate(json.load(sys.stdin)))
    except TradebotError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

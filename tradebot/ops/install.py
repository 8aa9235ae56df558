"""How to add what this installation lacks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def install_extra(extra: str) -> str:
    """The command that installs an optional part into the environment this process runs in.

    In a source checkout it keeps to the checkout and its constraints, elsewhere it names the package.
    """
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    checkout = Path(__file__).resolve().parents[2]
    constraints = checkout / "constraints.txt"
    if constraints.is_file() and (checkout / "pyproject.toml").is_file():
        return f"{pip} -c {shlex.quote(str(constraints))} -e {shlex.quote(f'{checkout}[{extra}]')}"
    return f"{pip} {shlex.quote(f'tradebot[{extra}]')}"

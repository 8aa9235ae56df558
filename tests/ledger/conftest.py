"""A real Postgres server for the tests that compare both databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """Directory with the Unix socket of a server of our own; skips where Postgres is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    binaries = folders[-1] if folders else Path(found).parent if found else None
    if binaries is None or not (binaries / "initdb").exists():
        pytest.skip("Postgres is not installed (Debian: postgresql)")
    root = Path(tempfile.mkdtemp(prefix="tradebot-pg-"))  # short: a socket's path has at most 107 characters
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user is not None:
        shutil.chown(root, user)

    def run(*command: str) -> None:
        done = subprocess.run(command, user=user, cwd=root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout

    data = str(root / "data")
    run(str(binaries / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={root} -c fsync=off"
    pg_ctl = str(binaries / "pg_ctl")
    run(pg_ctl, "-D", data, "-w", "-t", "60", "-l", str(root / "log"), "-o", options, "start")
    try:
        yield root
    finally:
        run(pg_ctl, "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_socket: Path) -> str:
    """URL of an empty database."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"host={postgres_socket} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://postgres@/{name}?host={postgres_socket}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger's URL, once for each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))

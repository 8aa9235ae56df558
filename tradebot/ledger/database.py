"""Opening the ledger's database, and saying in one line why it cannot be used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError, OperationalError

from tradebot.errors import BusyError, ConfigError, DataError
from tradebot.ops.install import install_extra

_MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 0x7B07_1ED6
_BUSY_TIMEOUT_MS = 5_000


class Ledger:
    """A ledger database: SQLite (``sqlite:///state/ledger.db``) or Postgres (``postgresql+psycopg://…``).

    SQLite runs in WAL mode with ``synchronous=NORMAL``: a power cut may undo the last transactions, never corrupt the
    file. That is enough because the journal is the write-ahead log of everything in here, and what was undone is
    projected again from it at the next start. Transactions that hold the intent of an order are synced all the same
    (``FULL``), so that whoever reads the file alone after a power cut knows of every order that may exist.
    """

    def __init__(self, url: str) -> None:
        """Connects lazily. Raises ConfigError when the URL is no database tradebot can use."""
        self.url = _parse(url)
        try:
            self.engine: Engine = sa.create_engine(self.url, **_options(self.url))
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"a ledger on {self.url.get_backend_name()} needs the package {error.name}: {install_extra('postgres')}"
            ) from error
        self._around: Connection | None = None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _on_sqlite_connect)
            event.listen(self.engine, "begin", _on_sqlite_begin)

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The file of an SQLite ledger; None on a server."""
        database = self.url.database
        return Path(database) if self.engine.dialect.name == "sqlite" and database else None

    def upgrade(self) -> None:
        """Make the tables or bring them to this version's schema; to be called by the daemon, which writes.

        Raises BusyError when the database cannot be reached, DataError when it is damaged or newer than this program.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise DataError(
                    f"the ledger {self} was written by a newer tradebot ({error}); update tradebot"
                ) from error

    @contextlib.contextmanager
    def begin(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction, committed on leaving; within ``atomically``, a part of the transaction around it.

        ``durable``: it survives a power cut once it is committed. Raises BusyError when it may work later, DataError
        when it will not.
        """
        if self._around is not None:
            with self._errors(), self._around.begin_nested():
                yield self._around
            return
        with self._errors(), self.engine.connect() as connection, _synced(connection, durable), connection.begin():
            yield connection

    @contextlib.contextmanager
    def atomically(self) -> Iterator[None]:
        """Everything written inside becomes visible at once, or not at all. Raises as ``begin``."""
        with self.begin() as connection:
            self._around = connection
            try:
                yield
            finally:
                self._around = None

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for queries. Raises DataError when there is no ledger yet, BusyError, DataError."""
        if self.path is not None and not self.path.exists():
            raise DataError(f"there is no ledger at {self.path} yet; it is made by the first run")
        with self._errors(), self.engine.connect() as connection:
            yield connection

    def fold_log(self) -> None:
        """Write everything into the SQLite file itself, so that it is whole without the log beside it."""
        with self._errors(), self.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection  # outside of any transaction
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            raw.execute("PRAGMA journal_mode=DELETE").fetchall()

    def _has_a_schema(self) -> bool:
        """Whether some tradebot has made its tables."""
        with self.engine.connect() as connection:
            return sa.inspect(connection).has_table("alembic_version")

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            reason = _first_line(error)
            if "no such table" in reason and not self._has_a_schema():
                raise DataError(f"the ledger {self} is empty: {reason}") from error
            if "no such column" in reason or "no such table" in reason:
                raise DataError(
                    f"the ledger {self} was written by an older tradebot ({reason}); the next run brings it up to "
                    "date, and so does: tradebot ledger rebuild"
                ) from error
            if "malformed" in reason or "readonly" in reason:
                raise DataError(f"the ledger {self} cannot be used: {reason}") from error
            raise BusyError(f"the ledger {self} is not available: {reason}") from error
        except DatabaseError as error:
            raise DataError(f"the ledger {self} cannot be used: {_first_line(error)}") from error


@contextlib.contextmanager
def _synced(connection: Connection, durable: bool) -> Iterator[None]:
    """Have SQLite sync each transaction (Postgres does in any case)."""
    if not durable or connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA synchronous=FULL")
    try:
        yield
    finally:
        raw.execute("PRAGMA synchronous=NORMAL")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except NoSuchModuleError as error:
        raise ConfigError("the ledger's URL must begin with sqlite:/// or postgresql+psycopg://") from error
    except ArgumentError as error:
        raise ConfigError("the ledger's URL is not a database URL; try sqlite:///state/ledger.db") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(f"the ledger can be on SQLite or Postgres, not on {backend}")
    # one driver: the other ones return other types and need other packages
    return parsed.set(drivername="postgresql+psycopg") if backend == "postgresql" else parsed


def _options(url: URL) -> dict[str, Any]:
    return {"pool_pre_ping": True} if url.get_backend_name() == "postgresql" else {}


def _on_sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    # the driver begins a transaction at the first row that is written: a table made before would be there half
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    finally:
        cursor.close()


def _first_line(error: DatabaseError | InterfaceError) -> str:
    return str(error.orig or error).strip().split("\n", 1)[0]

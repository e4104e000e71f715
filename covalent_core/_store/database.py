"""The database of a home: opened, created where it is missing, and its two kinds of transaction."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import OperationalError

from covalent_core._home import Home
from covalent_core._store import schema
from covalent_core.errors import StoreError

#: How long a transaction waits for another process's to end.
BUSY_SECONDS = 60.0


class Database:
    """The embedded SQLite database. Safe to use from several threads and processes at once."""

    def __init__(self, home: Home) -> None:
        """Open the database, creating it where it is missing.

        Raises:
            StoreError: The home is on a network file system, or the store is of another version.
        """
        home.create()
        self.home = home
        self.engine = _engine(home)
        self._create()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection on which all statements see one state."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection that holds the write lock from the start; it is on disk when the block is left."""
        with self.engine.connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def write_raw(self, connection: PoolProxiedConnection, patience: float) -> Iterator[DBAPICursor]:
        """Give a cursor of the driver that holds the write lock; what it did is on disk when the block is left.

        Raises:
            sqlite3.OperationalError: Another process held the lock for `patience` seconds; see `is_transient`.
        """
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={patience * 1000:.0f}")
        cursor.execute("BEGIN IMMEDIATE")

        try:
            yield cursor
        except BaseException:
            connection.rollback()
            raise

        connection.commit()

    def _create(self) -> None:
        # One process at a time: switching a new database to WAL does not wait for others by itself.
        with open(self.home.folder / "store.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            with self.engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()

            if found == 0:
                self._create_tables()
            elif found != schema.SCHEMA_VERSION:
                raise StoreError(
                    f"the store {self.home.database} has version {found}, this covalent-core uses version "
                    f"{schema.SCHEMA_VERSION}; use the covalent-core that wrote it, "
                    f"or set COVALENT_CORE_HOME to a new folder"
                )

    def _create_tables(self) -> None:
        raw = self.engine.raw_connection()
        raw.cursor().execute("PRAGMA journal_mode=WAL")
        raw.close()
        os.chmod(self.home.database, 0o600)

        with self.write() as connection:
            schema.Row.metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version={schema.SCHEMA_VERSION}")


def _engine(home: Home) -> Engine:
    # The driver's own transaction control is off, so that BEGIN is ours to word.
    arguments = {"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False}
    engine = create_engine(f"sqlite:///{home.database}", connect_args=arguments)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # FULL: a transaction that has been acknowledged survives a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        # A checkpoint stops all writers: at 32 MiB of log rather than at 4.
        connection.execute("PRAGMA wal_autocheckpoint=8192")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def is_transient(error: BaseException) -> bool:
    """Whether a transaction that failed so can succeed later: the disk is full, or the lock was not to be had."""
    return isinstance(error, (OperationalError, sqlite3.OperationalError))


def is_broken(error: BaseException) -> bool:
    """Whether a transaction failed because of the database as a whole: its file is damaged, or not a database."""
    return type(getattr(error, "orig", error)) is sqlite3.DatabaseError


def now() -> float:
    """Return the time as the store keeps it."""
    return time.time()

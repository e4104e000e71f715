"""Statements in the words of the driver: to let SQLAlchemy say one each time costs more than to carry it out."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, Table, Update, bindparam, insert, literal_column, or_
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

from covalent_core._model.status import Status

_DIALECT = sqlite.dialect()


class Prepared:
    """A statement that writes."""

    def __init__(self, statement: Insert | Update) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._text = str(compiled)
        self._names = compiled.positiontup or []

    @classmethod
    def insert(cls, table: Table, *columns: str) -> Prepared:
        """Return a statement that adds rows, with the values of these columns."""
        return cls(insert(table).values({column: bindparam(column) for column in columns}))

    def execute(self, cursor: DBAPICursor, rows: list[dict[str, Any]]) -> None:
        """Write many rows at once. Half a character in a text, which UTF-8 does not have, is written as its escape."""
        values = [tuple(row[name] for name in self._names) for row in rows]

        try:
            cursor.executemany(self._text, values)
        except UnicodeEncodeError:
            cursor.executemany(self._text, [tuple(map(_storable, row)) for row in values])


def _storable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


class Query:
    """A statement that reads; each value that it needs is a `bindparam`."""

    def __init__(self, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        columns = statement.selected_columns
        self._text = str(compiled)
        self._names = compiled.positiontup or []
        self._make = namedtuple("Row", [column.name for column in columns])._make  # type: ignore[attr-defined]
        processors = (column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns)
        self._readers = {place: reader for place, reader in enumerate(processors) if reader is not None}

    def rows(self, cursor: DBAPICursor, **values: Any) -> list[Any]:
        """Return all rows, each with its columns as attributes."""
        cursor.execute(self._text, tuple(values[name] for name in self._names))
        return [self._make(self._read(row)) for row in cursor.fetchall()]

    def _read(self, row: Sequence[Any]) -> Sequence[Any]:
        if not self._readers:
            return row

        values = list(row)

        for place, reader in self._readers.items():
            values[place] = reader(values[place])

        return values


def is_one_of(column: ColumnElement[str], statuses: Iterable[str]) -> ColumnElement[bool]:
    """Return a condition like IN with the statuses in its text: there are places for the values of a row only."""
    return or_(*(column == literal_column(f"'{Status(status).value}'") for status in statuses))

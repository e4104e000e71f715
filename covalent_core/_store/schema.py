"""The tables of the store. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from sqlalchemy import DDL, Column, Dialect, Index, LargeBinary, MetaData, Table, event, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from covalent_core._model.job import Value

#: Raised by one with every change of the tables; a store of another version is refused.
SCHEMA_VERSION = 5


class Row(SQLModel):
    """What all tables share: their own registry, apart from the tables that a user's program may define."""

    metadata = MetaData()


class ValueColumn(TypeDecorator[Value]):
    """Pickled bytes in the row, or the path of a file relative to the home."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        return encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Value | None:
        if value is None:
            return None

        return value[1:] if value[:1] == b"=" else Path(value[1:].decode())


def encode(value: Value | None) -> bytes | None:
    """Return a value as its column holds it."""
    if value is None:
        return None

    return b"=" + value if isinstance(value, bytes) else b"@" + str(value).encode()


def _value() -> Any:
    return Field(default=None, sa_column=Column(ValueColumn))


class Dispatch(Row, table=True):
    """One run of a lattice."""

    __tablename__ = "dispatches"

    dispatch_id: str = Field(primary_key=True)
    name: str
    status: str = Field(index=True)
    created: float
    started: Optional[float] = None
    ended: Optional[float] = None
    args: str = "[]"
    kwargs: str = "{}"
    client: str = ""
    cancel_requested: bool = False
    error: Optional[str] = None
    timeout: Optional[float] = None
    not_before: Optional[float] = None
    schedule: Optional[str] = Field(default=None, index=True)
    due: Optional[float] = None
    pack: str = "null"
    parent_dispatch_id: Optional[str] = Field(default=None, index=True)
    parent_node_id: Optional[int] = None
    root_dispatch_id: str
    result_node: Optional[int] = None
    result: Optional[Any] = _value()
    lattice: Optional[Any] = _value()
    call: Optional[Any] = _value()


class Tag(Row, table=True):
    """A word under which a dispatch can be found with others."""

    __tablename__ = "tags"

    dispatch_id: str = Field(primary_key=True)
    tag: str = Field(primary_key=True, index=True)


class Schedule(Row, table=True):
    """A lattice that is dispatched again and again. Its nodes, edges and functions are those of its id.

    There is one of each name that has not ended; to schedule a name again ends the one before.
    """

    __tablename__ = "schedules"

    schedule_id: str = Field(primary_key=True)
    name: str
    cron: Optional[str] = None
    every: Optional[float] = None
    zone: str
    start: float
    until: Optional[float] = None
    overlap: str
    catchup: float
    paused: bool = False
    created: float
    ended: Optional[float] = None
    #: The oldest instant that nothing was done about; None: there is none any more.
    next_due: Optional[float] = None
    #: An instant that waits for the dispatch before it to end.
    pending: Optional[float] = None
    lattice_name: str
    args: str
    kwargs: str
    client: str
    timeout: Optional[float] = None
    pack: str
    result_node: Optional[int] = None
    result: Optional[Any] = _value()
    lattice: Optional[Any] = _value()
    call: Optional[Any] = _value()

    __table_args__ = (Index("schedules_open", "name", unique=True, sqlite_where=text("ended IS NULL")),)


class Occurrence(Row, table=True):
    """What was done about an instant at which a schedule was due."""

    __tablename__ = "occurrences"

    schedule_id: str = Field(primary_key=True)
    instant: float = Field(primary_key=True)
    at: float
    outcome: str
    dispatch_id: Optional[str] = None


class Function(Row, table=True):
    """A pickled function of a dispatch, kept once however many nodes call it."""

    __tablename__ = "functions"

    dispatch_id: str = Field(primary_key=True)
    place: int = Field(primary_key=True)
    content: Optional[Any] = _value()


class Executor(Row, table=True):
    """An executor with its options, kept once for all that use it."""

    __tablename__ = "executors"

    id: Optional[int] = Field(default=None, primary_key=True)
    name: str
    options: str

    __table_args__ = (Index("executors_settings", "name", "options", unique=True),)


class Node(Row, table=True):
    """One vertex of a transport graph."""

    __tablename__ = "nodes"

    dispatch_id: str = Field(primary_key=True)
    node_id: int = Field(primary_key=True)
    name: str
    role: str
    status: str
    function: Optional[int] = None
    function_sources: str = "[]"
    call_sources: str = "[]"
    executor_id: Optional[int] = None
    options: str = "{}"
    attempt: int = 0
    jobs: int = 0
    not_before: Optional[float] = None
    cancel_requested: bool = False
    started: Optional[float] = None
    ended: Optional[float] = None
    error: Optional[str] = None
    step: Optional[str] = None
    stdout: str = ""
    stderr: str = ""
    call: Optional[Any] = _value()
    output: Optional[Any] = _value()
    exception: Optional[Any] = _value()
    reused_from: Optional[str] = None


class Attempt(Row, table=True):
    """An attempt at a node that failed and was followed by another."""

    __tablename__ = "attempts"

    dispatch_id: str = Field(primary_key=True)
    node_id: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    started: Optional[float] = None
    ended: float
    error: Optional[str] = None
    step: Optional[str] = None
    stdout: str = ""
    stderr: str = ""
    exception: Optional[Any] = _value()


class Edge(Row, table=True):
    """The target needs the source to have completed."""

    __tablename__ = "edges"

    dispatch_id: str = Field(primary_key=True)
    source: int = Field(primary_key=True)
    target: int = Field(primary_key=True)


class Job(Row, table=True):
    """What was asked of a backend; open until `release` has been called."""

    __tablename__ = "jobs"

    ticket: str = Field(primary_key=True)
    dispatch_id: str = Field(index=True)
    attempt: int
    payload: Optional[Any] = _value()
    location: Optional[str] = None
    handle: Optional[str] = None
    progress: Optional[str] = None
    waiting: Optional[str] = None
    usage: Optional[str] = None
    cancel_since: Optional[float] = None
    cancel_attempts: int = 0
    cancel_error: Optional[str] = None
    cancel_next: Optional[float] = None
    error: Optional[str] = None
    released: Optional[float] = None


class JobNode(Row, table=True):
    """Which nodes a job runs: one job handle, one or many nodes."""

    __tablename__ = "job_nodes"

    ticket: str = Field(primary_key=True)
    place: int = Field(primary_key=True)
    node_id: int


class StatusChange(Row, table=True):
    """Every status that a dispatch (``node_id`` NULL) or a node ever took, written by the database itself."""

    __tablename__ = "status_changes"

    id: Optional[int] = Field(default=None, primary_key=True)
    dispatch_id: str = Field(index=True)
    node_id: Optional[int] = None
    status: str
    at: float


class CancelOrder(Row, table=True):
    """One call of ``ct.cancel``: who, when, why."""

    __tablename__ = "cancel_orders"

    id: Optional[int] = Field(default=None, primary_key=True)
    dispatch_id: str
    task_ids: Optional[str] = None
    force: bool = False
    grace: Optional[float] = None
    reason: str
    client: str
    at: float


class CancelTarget(Row, table=True):
    """What became of one node that a cancel order named."""

    __tablename__ = "cancel_targets"

    order_id: int = Field(primary_key=True)
    node_id: int = Field(primary_key=True)
    outcome: str


def _record_changes(table: str, node_id: str) -> None:
    """Let the database record each change of a status, so that no code path can forget to."""
    now = "(julianday('now') - 2440587.5) * 86400.0"
    trigger = DDL(  # type: ignore[no-untyped-call]
        f"CREATE TRIGGER {table}_status AFTER UPDATE OF status ON {table} WHEN OLD.status <> NEW.status BEGIN "
        f"INSERT INTO status_changes (dispatch_id, node_id, status, at) "
        f"VALUES (NEW.dispatch_id, {node_id}, NEW.status, {now}); END"
    )
    event.listen(Row.metadata, "after_create", trigger.execute_if(dialect="sqlite"))


_record_changes("dispatches", "NULL")
_record_changes("nodes", "NEW.node_id")


def _table(model: type[Row]) -> Table:
    return Row.metadata.tables[str(model.__tablename__)]


dispatches = _table(Dispatch)
tags = _table(Tag)
functions = _table(Function)
executors = _table(Executor)
nodes = _table(Node)
attempts = _table(Attempt)
edges = _table(Edge)
jobs = _table(Job)
job_nodes = _table(JobNode)
status_changes = _table(StatusChange)
cancel_orders = _table(CancelOrder)
cancel_targets = _table(CancelTarget)
schedules = _table(Schedule)
occurrences = _table(Occurrence)

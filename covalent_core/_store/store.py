"""What survives: dispatches, nodes, jobs and cancel orders, and how they are added and read."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore

from covalent_core._home import Home
from covalent_core._model.graph import ExecutorSpec, Node, TransportGraph
from covalent_core._model.job import Value
from covalent_core._model.status import TERMINAL, Status
from covalent_core._model.where import Where
from covalent_core._store.database import Database, now
from covalent_core._store.schema import (
    attempts,
    cancel_orders,
    cancel_targets,
    dispatches,
    edges,
    executors,
    functions,
    job_nodes,
    jobs,
    nodes,
    schedules,
    status_changes,
    tags,
)
from covalent_core._store.selection import conditions
from covalent_core._store.values import Values
from covalent_core.errors import DispatchNotFoundError

OPEN = [status.value for status in Status if status not in TERMINAL]

#: What is needed for every dispatch: a statement that is made once costs less than one made each time.
DISPATCH = select(dispatches).where(dispatches.c.dispatch_id == bindparam("dispatch_id"))
ADD_EXECUTOR = insert_or_ignore(executors).on_conflict_do_nothing()
EXECUTOR_ID = select(executors.c.id).where(
    executors.c.name == bindparam("name"), executors.c.options == bindparam("options")
)


@dataclass
class NewDispatch:
    """A dispatch that is to be stored.

    Attributes:
        client: Who dispatches it.
        args: The arguments as they can be shown; so are `kwargs`.
        lattice: The pickled lattice, to build it again with; so is `call`, its pickled arguments.
        reused: The rows of nodes of another dispatch that stand for nodes which need not run.
        not_before: The moment before which nothing of it starts; None: now.
        tags: Words under which it can be found with others.
    """

    graph: TransportGraph
    client: str
    args: Sequence[str] = ()
    kwargs: Mapping[str, str] = field(default_factory=dict)
    lattice: bytes | None = None
    call: bytes | None = None
    reused: Mapping[int, Row[Any]] = field(default_factory=dict)
    not_before: float | None = None
    tags: Sequence[str] = ()


class Store:
    """The store of one home. Every method is one transaction, on disk when it returns."""

    def __init__(self, home: Home) -> None:
        """Open the store, creating it where it is missing.

        Raises:
            StoreError: It cannot be used where it is.
        """
        self.home = home
        self.database = Database(home)
        self.values = Values(home)

    # --- dispatches ----------------------------------------------------------------------------------------------

    def add_dispatch(self, new: NewDispatch) -> str:
        """Store a new dispatch, whole or not at all, and return its id."""
        dispatch_id = str(uuid.uuid4())

        with self.adding(dispatch_id) as connection:
            self._insert_dispatch(connection, dispatch_id, new, {"root_dispatch_id": dispatch_id})

        return dispatch_id

    def add_sublattice(self, parent_id: str, node_id: int, graph: TransportGraph) -> str | None:
        """Store the dispatch of a sublattice; return its id, or None if its node has been cancelled before.

        Called again for the same node, it returns the id of the one that is there.
        """
        dispatch_id = str(uuid.uuid4())

        with self.adding(dispatch_id) as connection:
            there = select(dispatches.c.dispatch_id).where(
                dispatches.c.parent_dispatch_id == parent_id, dispatches.c.parent_node_id == node_id
            )
            parent = self.find_dispatch(connection, parent_id)
            here = select(nodes.c.status).where(nodes.c.dispatch_id == parent_id, nodes.c.node_id == node_id)
            found = connection.execute(there).scalar()

            if found is not None or connection.execute(here).scalar_one() == Status.CANCELLING:
                return found

            new = NewDispatch(graph, parent.client, graph.settings["args"], graph.settings["kwargs"])
            family = {"parent_dispatch_id": parent_id, "parent_node_id": node_id}
            family["root_dispatch_id"] = parent.root_dispatch_id
            self._insert_dispatch(connection, dispatch_id, new, family)

        return dispatch_id

    @contextmanager
    def adding(self, dispatch_id: str, what: str = "dispatch") -> Iterator[Connection]:
        """Give a connection to add a dispatch, or a schedule; where it has not come about, its files go."""
        try:
            with self.database.write() as connection:
                yield connection
        except BaseException as error:
            # A Ctrl-C may come when the commit is on disk. Where nobody can say, the files stay.
            with suppress(Exception):
                if not self._has(dispatch_id):
                    self.values.discard_all(dispatch_id)
                elif sys.version_info >= (3, 11):
                    error.add_note(f"{what} {dispatch_id} is stored all the same")

            raise

    def _has(self, dispatch_id: str) -> bool:
        keys = (dispatches.c.dispatch_id, schedules.c.schedule_id)

        with self.database.read() as connection:
            return any(connection.execute(select(key).where(key == dispatch_id)).one_or_none() for key in keys)

    def get_child(self, dispatch_id: str, node_id: int) -> Row[Any] | None:
        """Return the dispatch of a sublattice, if there is one yet."""
        query = select(dispatches).where(
            dispatches.c.parent_dispatch_id == dispatch_id, dispatches.c.parent_node_id == node_id
        )

        with self.database.read() as connection:
            return connection.execute(query).one_or_none()

    def get_output(self, dispatch: Row[Any]) -> Value | None:
        """Return the pickled return value of a dispatch that has COMPLETED."""
        if dispatch.result_node is None:
            return dispatch.result  # type: ignore[no-any-return]

        query = select(nodes.c.output).where(
            nodes.c.dispatch_id == dispatch.dispatch_id, nodes.c.node_id == dispatch.result_node
        )

        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def _insert_dispatch(
        self, connection: Connection, dispatch_id: str, new: NewDispatch, family: dict[str, Any]
    ) -> None:
        self.insert_graph(connection, dispatch_id, new.graph, new.reused)
        row: dict[str, Any] = {"dispatch_id": dispatch_id, "name": new.graph.lattice, "status": Status.NEW_OBJECT.value}
        row |= {"created": now(), "not_before": new.not_before, **self.described(dispatch_id, new)}
        connection.execute(insert(dispatches), row | family)

        if new.tags:
            connection.execute(insert(tags), [{"dispatch_id": dispatch_id, "tag": tag} for tag in new.tags])

    def described(self, dispatch_id: str, new: NewDispatch) -> dict[str, Any]:
        """Return the columns in which a dispatch says how it is carried out and shown, with its values in place."""
        graph = new.graph
        return {
            "args": json.dumps(new.args),
            "kwargs": json.dumps(new.kwargs),
            "client": new.client,
            "timeout": graph.settings.get("timeout"),
            "pack": json.dumps(graph.settings.get("pack")),
            "result_node": graph.result_node,
            "result": self.values.keep(dispatch_id, "result", graph.result),
            "lattice": self.values.keep(dispatch_id, "lattice", new.lattice),
            "call": self.values.keep(dispatch_id, "call", new.call),
        }

    def insert_graph(
        self, connection: Connection, dispatch_id: str, graph: TransportGraph, reused: Mapping[int, Row[Any]]
    ) -> None:
        """Write the nodes, edges and functions of a graph under the id of a dispatch, or of a schedule."""
        specs = {node.executor for node in graph.nodes if node.executor}
        known = {spec: self._executor_id(connection, spec) for spec in specs}
        rows = [self._node_row(dispatch_id, node, known, reused.get(node.node_id)) for node in graph.nodes]
        pickled = [
            {
                "dispatch_id": dispatch_id,
                "place": place,
                "content": self.values.keep(dispatch_id, f"function-{place}", content),
            }
            for place, content in enumerate(graph.functions)
        ]
        arrows = [{"dispatch_id": dispatch_id, "source": source, "target": target} for source, target in graph.edges]

        for table, values in ((nodes, rows), (functions, pickled), (edges, arrows)):
            if values:
                connection.execute(insert(table), values)

    def _executor_id(self, connection: Connection, spec: ExecutorSpec) -> int:
        row = {"name": spec.name, "options": spec.options}
        connection.execute(ADD_EXECUTOR, row)
        return int(connection.execute(EXECUTOR_ID, row).scalar_one())

    def _node_row(
        self, dispatch_id: str, node: Node, known: dict[ExecutorSpec, int], reused: Row[Any] | None
    ) -> dict[str, Any]:
        row = self._new_node_row(dispatch_id, node, known)

        if reused is None:
            return row

        taken = {name: reused._mapping[name] for name in ("started", "ended", "stdout", "stderr")}
        output = self.values.share(dispatch_id, f"output-{node.node_id}", reused.output)
        # From where it has run, however often it has been taken over since.
        origin = reused.reused_from or reused.dispatch_id
        return {**row, **taken, "status": Status.COMPLETED.value, "output": output, "reused_from": origin}

    def _new_node_row(self, dispatch_id: str, node: Node, known: dict[ExecutorSpec, int]) -> dict[str, Any]:
        output = self.values.keep(dispatch_id, f"output-{node.node_id}", node.value)
        ready = None if output is None else now()
        return {
            "dispatch_id": dispatch_id,
            "node_id": node.node_id,
            "name": node.name,
            "role": node.role.value,
            "options": node.options,
            "function_sources": json.dumps(node.function_sources),
            "call_sources": json.dumps(node.call_sources),
            "status": Status.NEW_OBJECT.value if ready is None else Status.COMPLETED.value,
            "function": node.function,
            "executor_id": known[node.executor] if node.executor else None,
            "started": ready,
            "ended": ready,
            "stdout": "",
            "stderr": "",
            "call": self.values.keep(dispatch_id, f"call-{node.node_id}", node.call),
            "output": output,
            "reused_from": None,
        }

    def get_dispatch(self, dispatch_id: str) -> tuple[Row[Any], list[Row[Any]]]:
        """Return the row of a dispatch and the rows of its nodes, as they are at one moment.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        with self.database.read() as connection:
            row = self.find_dispatch(connection, dispatch_id)
            query = select(nodes).where(nodes.c.dispatch_id == dispatch_id).order_by(nodes.c.node_id)
            return row, list(connection.execute(query))

    def get_status(self, dispatch_id: str) -> Status:
        """Return where a dispatch stands.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        with self.database.read() as connection:
            return Status(self.find_dispatch(connection, dispatch_id).status)

    def get_tags(self, dispatch_id: str) -> list[str]:
        """Return the tags of a dispatch, in alphabetical order."""
        query = select(tags.c.tag).where(tags.c.dispatch_id == dispatch_id).order_by(tags.c.tag)

        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def list_dispatches(
        self, statuses: Iterable[Status] | None, limit: int, where: Where | None = None
    ) -> list[Row[Any]]:
        """Return the rows of the newest dispatches, newest first."""
        query = select(dispatches).order_by(dispatches.c.created.desc()).limit(limit)
        query = query if where is None else query.where(*conditions(where))

        if statuses is not None:
            query = query.where(dispatches.c.status.in_([Status(status).value for status in statuses]))

        with self.database.read() as connection:
            return list(connection.execute(query))

    def has_unfinished(self) -> bool:
        """Return whether any dispatch has not ended."""
        return bool(self.list_dispatches([status for status in Status if not status.terminal], 1))

    def get_jobs(self, dispatch_id: str) -> list[Row[Any]]:
        """Return the jobs of a dispatch by attempt, each row once for every node it runs."""
        query = select(jobs, job_nodes.c.node_id).join(job_nodes, jobs.c.ticket == job_nodes.c.ticket)
        query = query.where(jobs.c.dispatch_id == dispatch_id).order_by(jobs.c.attempt, job_nodes.c.place)

        with self.database.read() as connection:
            return list(connection.execute(query))

    def set_waiting(self, ticket: str, text: str) -> None:
        """Say what a job waits for, from any thread; the dispatcher itself does so with its journal."""
        with self.database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.ticket == ticket).values(waiting=text))

    def get_functions(self, dispatch_id: str) -> dict[int, Value]:
        """Return the pickled functions of a dispatch by their places."""
        query = select(functions.c.place, functions.c.content).where(functions.c.dispatch_id == dispatch_id)

        with self.database.read() as connection:
            return {row.place: row.content for row in connection.execute(query)}

    def get_needs(self, dispatch_id: str) -> dict[int, list[int]]:
        """Return the nodes that each node needs."""
        query = select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == dispatch_id)
        needs: dict[int, list[int]] = {}

        with self.database.read() as connection:
            for row in connection.execute(query):
                needs.setdefault(row.target, []).append(row.source)

        return needs

    def get_attempts(self, dispatch_id: str, node_id: int) -> list[Row[Any]]:
        """Return the attempts at a node that failed and were followed by another, oldest first."""
        query = select(attempts).where(attempts.c.dispatch_id == dispatch_id, attempts.c.node_id == node_id)

        with self.database.read() as connection:
            return list(connection.execute(query.order_by(attempts.c.attempt)))

    def get_status_changes(self, dispatch_id: str) -> list[Row[Any]]:
        """Return every status change of a dispatch and its nodes, in the order in which they happened."""
        with self.database.read() as connection:
            return list(connection.execute(select(status_changes).where(status_changes.c.dispatch_id == dispatch_id)))

    def get_cancel_orders(self, dispatch_id: str) -> list[tuple[Row[Any], dict[int, str]]]:
        """Return every cancel order for a dispatch, and what became of its targets when it was given."""
        query = select(cancel_orders).where(cancel_orders.c.dispatch_id == dispatch_id).order_by(cancel_orders.c.id)

        with self.database.read() as connection:
            return [(row, self._targets(connection, row.id)) for row in list(connection.execute(query))]

    def _targets(self, connection: Connection, order_id: int) -> dict[int, str]:
        query = select(cancel_targets).where(cancel_targets.c.order_id == order_id)
        return {row.node_id: row.outcome for row in connection.execute(query)}

    def find_dispatch(self, connection: Connection, dispatch_id: str) -> Any:
        """Return the row of a dispatch, read on a connection that is open.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        return self.the_dispatch(dispatch_id, list(connection.execute(DISPATCH, {"dispatch_id": dispatch_id})))

    def the_dispatch(self, dispatch_id: str, rows: Sequence[Any]) -> Any:
        """Return the only one of the rows that were found for an id.

        Raises:
            DispatchNotFoundError: There is none.
        """
        if not rows:
            raise DispatchNotFoundError(
                f"no dispatch {dispatch_id!r} in {self.home.database}; ct.list_dispatches() shows those that are there"
            )

        return rows[0]

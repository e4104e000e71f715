"""New dispatches as rows: what is written of one, and of a schedule, which is stored like one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore

from covalent_core._model.graph import ExecutorSpec, Node, TransportGraph
from covalent_core._model.status import Status
from covalent_core._store.database import now
from covalent_core._store.schema import dispatches, edges, executors, functions, nodes, tags
from covalent_core._store.values import Values

#: What is needed for every dispatch: a statement that is made once costs less than one made each time.
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


class Rows:
    """Writes them, on a connection of whoever adds something; large values get files of their own."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def add_dispatch(
        self, connection: Connection, dispatch_id: str, new: NewDispatch, family: Mapping[str, Any]
    ) -> None:
        """Write a dispatch.

        Args:
            family: The columns that say what it is a part of.
        """
        self.add_graph(connection, dispatch_id, new.graph, new.reused)
        row: dict[str, Any] = {"dispatch_id": dispatch_id, "name": new.graph.lattice, "status": Status.NEW_OBJECT.value}
        row |= {"created": now(), "not_before": new.not_before, **self.described(dispatch_id, new)}
        connection.execute(insert(dispatches), {**row, **family})

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
            "result": self._values.keep(dispatch_id, "result", graph.result),
            "lattice": self._values.keep(dispatch_id, "lattice", new.lattice),
            "call": self._values.keep(dispatch_id, "call", new.call),
        }

    def add_graph(
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
                "content": self._values.keep(dispatch_id, f"function-{place}", content),
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
        output = self._values.share(dispatch_id, f"output-{node.node_id}", reused.output)
        # From where it has run, however often it has been taken over since.
        origin = reused.reused_from or reused.dispatch_id
        return {**row, **taken, "status": Status.COMPLETED.value, "output": output, "reused_from": origin}

    def _new_node_row(self, dispatch_id: str, node: Node, known: dict[ExecutorSpec, int]) -> dict[str, Any]:
        output = self._values.keep(dispatch_id, f"output-{node.node_id}", node.value)
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
            "call": self._values.keep(dispatch_id, f"call-{node.node_id}", node.call),
            "output": output,
            "reused_from": None,
        }

"""A transport graph as JSON, in which it comes back from where a sublattice was built: nothing has to be unpickled."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from covalent_core._model.graph import ExecutorSpec, Node, Role, TransportGraph
from covalent_core._model.task_options import check_executor_options, check_options, check_pack
from covalent_core.errors import CovalentError, GraphError

#: What is raised while something is read that is no graph.
_NO_GRAPH = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, CovalentError)


def to_json(graph: TransportGraph) -> bytes:
    """Return a graph as UTF-8 encoded JSON."""
    document = {
        "lattice": graph.lattice,
        "executor": asdict(graph.default_executor),
        "functions": [_text(content) for content in graph.functions],
        "nodes": [_node_to_json(node) for node in graph.nodes],
        "edges": sorted(graph.edges),
        "result": _text(graph.result),
        "result_node": graph.result_node,
        "settings": dict(graph.settings),
    }
    return json.dumps(document).encode()


def from_json(content: bytes) -> TransportGraph:
    """Return the graph behind `to_json`, checked: whoever has sent it need not have built it with this package.

    Raises:
        GraphError: It is not a graph.
    """
    try:
        document = json.loads(content)
        graph = TransportGraph(_name(document["lattice"]), _spec(document["executor"]))
        graph.functions = [_required(text) for text in document["functions"]]
        graph.nodes = [_node_from_json(place, values) for place, values in enumerate(document["nodes"])]
        graph.edges = {(_number(source), _number(target)) for source, target in document["edges"]}
        graph.result = _bytes(document["result"])
        graph.result_node = None if document["result_node"] is None else _number(document["result_node"])
        graph.settings = _settings(**document["settings"])
    except _NO_GRAPH as error:
        raise GraphError(f"what has come back is not a graph: {type(error).__name__}: {error}") from error

    _check(graph)
    return graph


def _settings(
    timeout: float | None, pack: int | str | None, args: Sequence[str] = (), kwargs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    what = "the sublattice"
    seconds = check_options(what, {"timeout": timeout}).get("timeout")
    shown = {_name(name): _name(value) for name, value in (kwargs or {}).items()}
    return {"timeout": seconds, "pack": check_pack(what, pack), "args": [*map(_name, args)], "kwargs": shown}


def _check(graph: TransportGraph) -> None:
    nodes, functions = range(len(graph.nodes)), range(len(graph.functions))
    sources = {(source, node.node_id) for node in graph.nodes for source in node.function_sources + node.call_sources}
    runs = [node for node in graph.nodes if node.role != Role.PARAMETER]

    # An electron is numbered before its parameters, which need nothing; every other arrow leads to a higher number.
    sound = (
        all(s in nodes and t in nodes and (s < t or graph.nodes[s].role == Role.PARAMETER) for s, t in graph.edges)
        and sources <= graph.edges
        and all(node.function in functions and node.call is not None and node.executor is not None for node in runs)
        and all(node.value is not None for node in graph.nodes if node.role == Role.PARAMETER)
        and not any(graph.nodes[target].role == Role.PARAMETER for _, target in graph.edges)
        and (graph.result_node in nodes if graph.result is None else graph.result_node is None)
    )

    if not sound:
        raise GraphError("what has come back is not a graph: its nodes and edges do not fit together")


def _node_to_json(node: Node) -> dict[str, Any]:
    return {
        **vars(node),
        "call": _text(node.call),
        "value": _text(node.value),
        "executor": _spec_to_json(node.executor),
    }


def _node_from_json(place: int, values: dict[str, Any]) -> Node:
    options = json.loads(values["options"])
    check_options("a node", {name: value for name, value in options.items() if name != "fresh"})
    return Node(
        place,
        _name(values["name"]),
        Role(values["role"]),
        None if values["function"] is None else _number(values["function"]),
        [_number(source) for source in values["function_sources"]],
        _bytes(values["call"]),
        [_number(source) for source in values["call_sources"]],
        _bytes(values["value"]),
        None if values["executor"] is None else _spec(values["executor"]),
        values["options"],
    )


def _spec(values: dict[str, Any]) -> ExecutorSpec:
    spec = ExecutorSpec(**values)
    options = json.loads(spec.options)

    if not isinstance(options, dict):
        raise TypeError(f"{spec.options!r} are no options")

    check_executor_options(f"executor {_name(spec.name)!r}", options)
    return ExecutorSpec(spec.name, _name(spec.options))


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")

    # What is no UTF-8 cannot be stored.
    value.encode()
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no number of a node")

    return value


def _spec_to_json(spec: ExecutorSpec | None) -> dict[str, str] | None:
    return None if spec is None else asdict(spec)


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text, validate=True)


def _required(text: str) -> bytes:
    return b64decode(text, validate=True)

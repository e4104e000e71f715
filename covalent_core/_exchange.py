"""A transport graph as JSON, in which it comes back from where a sublattice was built: nothing has to be unpickled."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from covalent_core._graph import ExecutorSpec, Node, Role, TransportGraph, check_pack
from covalent_core.errors import GraphError


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
        graph = TransportGraph(str(document["lattice"]), ExecutorSpec(**document["executor"]))
        graph.functions = [_required(text) for text in document["functions"]]
        graph.nodes = [_node_from_json(place, values) for place, values in enumerate(document["nodes"])]
        graph.edges = {(int(source), int(target)) for source, target in document["edges"]}
        graph.result = _bytes(document["result"])
        graph.result_node = document["result_node"]
        graph.settings = _settings(**document["settings"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError(f"what has come back is not a graph: {type(error).__name__}: {error}") from error

    _check(graph)
    return graph


def _settings(
    timeout: float | None, pack: int | str | None, args: Sequence[str] = (), kwargs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    shown = {str(name): str(value) for name, value in (kwargs or {}).items()}
    seconds = None if timeout is None else float(timeout)
    return {"timeout": seconds, "pack": check_pack("the sublattice", pack), "args": [*map(str, args)], "kwargs": shown}


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
    spec = values["executor"]
    json.loads(values["options"])
    return Node(
        place,
        str(values["name"]),
        Role(values["role"]),
        values["function"],
        [int(source) for source in values["function_sources"]],
        _bytes(values["call"]),
        [int(source) for source in values["call_sources"]],
        _bytes(values["value"]),
        None if spec is None else ExecutorSpec(str(spec["name"]), str(spec["options"])),
        values["options"],
    )


def _spec_to_json(spec: ExecutorSpec | None) -> dict[str, str] | None:
    return None if spec is None else asdict(spec)


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text, validate=True)


def _required(text: str) -> bytes:
    return b64decode(text, validate=True)

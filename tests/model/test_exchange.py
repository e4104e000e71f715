"""A graph as JSON: it comes back as it was, and whatever else comes back is refused with one kind of error."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import covalent_core as ct
from covalent_core._model.exchange import from_json, to_json
from covalent_core._model.graph import ExecutorSpec, Node, Role, TransportGraph
from covalent_core.errors import GraphError


@ct.electron
def pair(x: Any) -> Any:
    return x, x


@ct.electron(retries=2, timeout=3, executor=ct.executor.LocalExecutor(max_workers=3))
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@ct.lattice
def inner(x: Any) -> Any:
    return add(x)


@ct.lattice(timeout=60, pack="auto")
def workflow(x: Any) -> Any:
    a, b = pair(x)
    first = inner(a)
    late = ct.wait(add(a, y=b), first)
    return {"late": late, "many": [pair(7)[0] + b, -a]}


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))


@cache
def content() -> bytes:
    return to_json(workflow.build_graph(1))


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content())
    return found


def parts(graph: TransportGraph) -> tuple[Any, ...]:
    """Return what of a graph goes into the store."""
    fields = (graph.lattice, graph.default_executor, graph.functions, graph.nodes, graph.edges)
    return (*fields, graph.result, graph.result_node, {"args": [], "kwargs": {}} | dict(graph.settings))


def refused(content: Any) -> str:
    with pytest.raises(GraphError) as caught:
        from_json(content if isinstance(content, bytes) else json.dumps(content).encode())

    return str(caught.value)


# --- there and back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lattice",
    [workflow, ct.lattice(lambda x: x), ct.lattice(lambda x: add(x)), ct.lattice(lambda x: [add(x), 1]), inner],
)
def test_a_graph_that_a_lattice_builds_comes_back_as_it_was(lattice: Any) -> None:
    graph = lattice.build_graph(1)

    assert parts(from_json(to_json(graph))) == parts(graph)


CONTENT = st.binary(max_size=20)
OPTIONS = st.dictionaries(st.text(max_size=5), st.integers()).map(json.dumps)
SPECS = st.builds(ExecutorSpec, st.text(max_size=5), OPTIONS)


@st.composite
def graphs(draw: st.DrawFn) -> TransportGraph:
    """Every graph that fits together, whether a lattice could build it or not."""
    graph = TransportGraph(draw(st.text()), draw(SPECS))
    graph.functions = draw(st.lists(CONTENT, min_size=1, max_size=3))

    for node_id in range(draw(st.integers(0, 8))):
        role = draw(st.sampled_from(Role))
        node = Node(node_id, draw(st.text()), role)
        graph.nodes.append(node)

        if role == Role.PARAMETER:
            node.value = draw(CONTENT)
            continue

        before = st.lists(st.integers(0, node_id - 1), max_size=3) if node_id else st.just([])
        node.function = draw(st.integers(0, len(graph.functions) - 1))
        node.function_sources, node.call_sources, also = draw(before), draw(before), draw(before)
        node.call, node.executor = draw(CONTENT), draw(SPECS)
        node.options = json.dumps(draw(st.dictionaries(st.sampled_from(["retries", "grace"]), st.integers(0, 9))))
        graph.edges |= {(source, node_id) for source in node.function_sources + node.call_sources + also}

    if graph.nodes and draw(st.booleans()):
        graph.result_node = draw(st.integers(0, len(graph.nodes) - 1))
    else:
        graph.result = draw(CONTENT)

    timeout = draw(st.none() | st.floats(0.1, 1e6) | st.integers(1, 1000))
    graph.settings = {"timeout": timeout, "pack": draw(st.sampled_from([None, 3, "chain", "auto"]))}
    return graph


@given(graphs())
def test_every_graph_comes_back_as_it_was(graph: TransportGraph) -> None:
    assert parts(from_json(to_json(graph))) == parts(graph)


# --- what is no graph --------------------------------------------------------------------------------------------


@given(st.binary())
def test_bytes_that_are_no_json_are_refused(content: bytes) -> None:
    refused(content)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=5,
)


@given(ANYTHING)
def test_json_that_is_no_graph_is_refused(content: Any) -> None:
    refused(content)


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    refused(b"[" * 100_000)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every place in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(way for key, item in inside for way in places(item, (*path, key)))][0 if path else 1 :]


@given(st.data())
def test_a_document_with_anything_in_any_place_is_a_graph_or_refused(data: st.DataObject) -> None:
    """Never another error; and what is taken is whole, so that the store and the walk can rely on it."""
    found = document()
    *way, last = data.draw(st.sampled_from(places(found)))
    place = found

    for key in way:
        place = place[key]

    place[last] = data.draw(ANYTHING)

    try:
        graph = from_json(json.dumps(found).encode())
    except GraphError:
        return

    check_types(graph)


def check_types(graph: TransportGraph) -> None:
    """Fail unless everything has the type that it says, down to what the store binds as a value of a row."""
    assert graph.lattice.encode()
    assert type(graph.default_executor.name) is type(graph.default_executor.options) is str
    assert graph.result is None or type(graph.result) is bytes
    assert graph.result_node is None or type(graph.result_node) is int
    assert graph.settings["pack"] in (None, "chain", "auto") or type(graph.settings["pack"]) is int
    assert graph.settings["timeout"] is None or 0 < graph.settings["timeout"] < inf

    for node in graph.nodes:
        assert node.name.encode()
        assert type(json.loads(node.options)) is dict
        assert node.function is None or type(node.function) is int
        assert node.executor is None or type(json.loads(node.executor.options)) is dict


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(found: dict[str, Any]) -> None:
        *way, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
        place: Any = found

        for key in way:
            place = place[key]

        place[last] = value

    return apply


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found.pop("nodes"),
        lambda found: found["nodes"][0].pop("call"),
        lambda found: found["functions"].clear(),
        lambda found: found["edges"].clear(),
        lambda found: found["edges"].append([0, 99]),
        lambda found: found["edges"].append([-1, 0]),
        # A circle, and an arrow into a parameter.
        lambda found: found["edges"].append([found["result_node"], 2]),
        lambda found: found["edges"].append([0, 1]),
        change("result_node", 99),
        change("result_node", None),
        change("result", "AAAA"),
        change("nodes.0.function", 99),
        change("nodes.0.function", None),
        change("nodes.0.call", None),
        change("nodes.0.call", "not base64!"),
        change("nodes.0.executor", None),
        change("nodes.0.executor", "local"),
        change("nodes.0.executor.options", '{"max_workers": -1}'),
        change("executor.options", '{"pack": -5}'),
        change("executor.options", '{"grace": NaN}'),
        change("nodes.0.role", "president"),
        change("nodes.0.options", "{"),
        change("nodes.1.value", None),
        change("executor", {"name": "local", "surprise": 1}),
        change("settings", {"timeout": "soon", "pack": None}),
        change("settings", {"timeout": None, "pack": [1]}),
        change("settings", {"timeout": None, "pack": 0}),
    ],
)
def test_a_document_that_does_not_fit_together_is_refused(spoil: Callable[[dict[str, Any]], Any]) -> None:
    found = document()
    from_json(json.dumps(found).encode())
    spoil(found)
    refused(found)


@pytest.mark.parametrize(
    "spoil",
    [
        change("result_node", True),
        change("result_node", 1.0),
        change("nodes.0.function", 0.0),
        change("nodes.0.options", "[]"),
        change("nodes.0.options", '{"retries": "many"}'),
        change("nodes.0.executor", {"name": "local", "options": "{"}),
        change("executor", {"name": 1, "options": "{}"}),
        change("settings", {"timeout": float("nan"), "pack": None}),
        change("settings", {"timeout": -1, "pack": None}),
        change("edges.0.0", float("inf")),
        change("nodes.0.name", "half a character: \udc80"),
    ],
)
def test_values_that_would_stop_the_dispatcher_later_are_refused(spoil: Callable[[dict[str, Any]], Any]) -> None:
    found = document()
    spoil(found)
    refused(found)

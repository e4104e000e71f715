"""What a lattice becomes: its nodes, names and edges, what they compute, and what cannot become a graph at all."""

from __future__ import annotations

import copy
import operator
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import covalent_core as ct
from covalent_core._compose.outputs import NodeOutput
from covalent_core._compose.pickling import loads
from covalent_core._executors.installed import describe
from covalent_core._model.exchange import from_json
from covalent_core._model.graph import PARAMETER, Role, TransportGraph
from covalent_core.errors import ExecutorNotFoundError, GraphError


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))


# --- helpers -----------------------------------------------------------------------------------------------------


def evaluate(graph: TransportGraph) -> Any:
    """Run a graph in this process, in the order of its ids, giving each node only what its edges promise it."""
    outputs: dict[int, Any] = {node.node_id: loads(node.value, _none) for node in graph.nodes if node.value is not None}

    for node in graph.nodes:
        if node.node_id in outputs:
            assert node.name.startswith(PARAMETER)
            assert node.function is None
            assert node.call is None
            continue

        assert node.function is not None
        assert node.call is not None
        allowed = {source: outputs[source] for source, target in graph.edges if target == node.node_id}
        function = loads(graph.functions[node.function], lambda place: allowed[node.function_sources[place]])  # noqa: B023
        args, kwargs = loads(node.call, lambda place: allowed[node.call_sources[place]])  # noqa: B023
        outputs[node.node_id] = function(*args, **kwargs)

    return outputs[graph.result_node] if graph.result is None else loads(graph.result, _none)


def _none(node_id: int) -> None:
    raise AssertionError(f"a parameter names node {node_id}")


def names(graph: TransportGraph) -> list[str]:
    """Return ``name(id)`` of every node but the one that puts the return value together."""
    return [f"{node.name}({node.node_id})" for node in graph.nodes if node.role != Role.RESULT]


def built(compose: Callable[[], Any]) -> TransportGraph:
    """Return the graph of a lattice that only does what `compose` does."""
    return ct.Lattice(compose).build_graph()


def refusal_of(use: Callable[[Any], Any]) -> str:
    """Return the message of the GraphError that `use` of an output, ``pair(0)`` of lattice ``refused``, gives."""

    @ct.lattice
    def refused() -> Any:
        return use(pair())

    with pytest.raises(GraphError) as caught:
        refused.build_graph()

    return str(caught.value)


@ct.electron
def same(value: Any) -> Any:
    return value


@ct.electron
def pair() -> Any:
    return (3, 4)


@ct.electron
def gather(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@ct.electron
def add(x: Any, y: Any = 100) -> Any:
    return x + y


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Box:
    content: Any


class Row:
    """Has ``row @ column`` only by the column's reflected method."""


class Column:
    def __matmul__(self, other: Any) -> str:
        return "column @ it"

    def __rmatmul__(self, other: Any) -> str:
        return "it @ column"


# --- numbers and names -------------------------------------------------------------------------------------------


def test_nodes_are_numbered_in_the_order_of_the_calls_each_followed_by_its_parameters() -> None:
    @ct.electron
    def task_1(x: int) -> int:
        return x * 2

    @ct.electron
    def task_2(x: int, y: int) -> int:
        return x + y

    @ct.lattice
    def workflow(x: int) -> int:
        res_2 = task_2(task_1(10), x)
        return res_2  # noqa: RET504

    graph = workflow.build_graph(x=5)

    assert names(graph) == ["task_1(0)", ":parameter:10(1)", "task_2(2)", ":parameter:5(3)"]
    assert graph.edges == {(1, 0), (0, 2), (3, 2)}
    assert graph.lattice == "workflow"
    assert evaluate(graph) == 25


def test_parameters_of_keywords_follow_those_of_positions() -> None:
    graph = built(lambda: gather(1, "two", b=3, a=4))

    assert names(graph) == ["gather(0)", ":parameter:1(1)", ":parameter:two(2)", ":parameter:3(3)", ":parameter:4(4)"]
    assert graph.edges == {(1, 0), (2, 0), (3, 0), (4, 0)}
    assert evaluate(graph) == ((1, "two"), {"b": 3, "a": 4})


def test_defaults_make_no_parameter() -> None:
    graph = built(lambda: add(1))

    assert names(graph) == ["add(0)", ":parameter:1(1)"]
    assert evaluate(graph) == 101


def test_star_arguments_are_arguments_like_any_other() -> None:
    def compose() -> Any:
        first = pair()
        keywords = {"key": first, "other": None}
        return gather(*[first, 2], **keywords)

    graph = built(compose)

    assert names(graph) == ["pair(0)", "gather(1)", ":parameter:2(2)", ":parameter:None(3)"]
    assert graph.edges == {(0, 1), (2, 1), (3, 1)}
    assert evaluate(graph) == (((3, 4), 2), {"key": (3, 4), "other": None})


def test_big_list_of_constants_is_one_parameter() -> None:
    graph = built(lambda: same(list(range(100_000))))

    assert len(graph.nodes) == 2
    assert graph.nodes[1].name == ":parameter:[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert evaluate(graph) == list(range(100_000))


def test_names_of_parameters_are_short_and_on_one_line() -> None:
    graph = built(lambda: gather("a\n  b", "x" * 80, "x" * 81))

    assert [node.name for node in graph.nodes[1:]] == [
        ":parameter:a b",
        ":parameter:" + "x" * 80,
        ":parameter:" + "x" * 77 + "...",
    ]


def test_arguments_are_taken_as_they_are_at_the_call() -> None:
    def compose() -> Any:
        values = [1]
        output = same(values)
        values.append(2)
        return output

    assert evaluate(built(compose)) == [1]


def test_function_called_often_is_stored_once() -> None:
    graph = built(lambda: [same(place) for place in range(1000)])

    # One function for the thousand calls, and one for the node that puts the return value together.
    assert len(graph.nodes) == 2001
    assert len(graph.functions) == 2
    assert {node.function for node in graph.nodes if node.name == "same"} == {0}
    assert evaluate(graph) == list(range(1000))


def test_different_functions_of_one_name_are_kept_apart() -> None:
    def compose() -> Any:
        outputs = []

        for factor in (2, 3):

            @ct.electron
            def scaled(x: int, factor: int = factor) -> int:
                return x * factor

            outputs.append(scaled(10))

        return outputs

    graph = built(compose)

    assert {node.function for node in graph.nodes if node.name == "scaled"} == {0, 1}
    assert evaluate(graph) == [20, 30]


def test_executor_of_the_electron_comes_before_that_of_the_lattice() -> None:
    @ct.electron(executor=ct.executor.LocalExecutor(max_workers=7))
    def special() -> int:
        return 1

    @ct.lattice(executor=ct.executor.LocalExecutor(max_workers=3))
    def workflow() -> Any:
        return special(), same(1)

    nodes = workflow.build_graph().nodes

    assert nodes[0].executor == describe(ct.executor.LocalExecutor(max_workers=7))
    assert nodes[1].executor == describe(ct.executor.LocalExecutor(max_workers=3))
    assert nodes[2].executor is None


def test_unknown_executor_is_noticed_when_the_graph_is_built() -> None:
    @ct.electron(executor="slrum")
    def special() -> int:
        return 1

    with pytest.raises(ExecutorNotFoundError, match="no executor named 'slrum'"):
        built(special)


# --- outputs within arguments ------------------------------------------------------------------------------------

NESTINGS = {
    "list": (lambda e: [e, 1], [7, 1]),
    "tuple": (lambda e: (e, 1), (7, 1)),
    "set": (lambda e: {e, 1}, {7, 1}),
    "frozenset": (lambda e: frozenset({e, 1}), frozenset({7, 1})),
    "dict value": (lambda e: {"k": e, "l": 1}, {"k": 7, "l": 1}),
    "dict key": (lambda e: {e: 1}, {7: 1}),
    "empty neighbours": (lambda e: [[], (), {}, set(), e], [[], (), {}, set(), 7]),
    "deep": (lambda e: {"a": [(e, {"b": {e}})]}, {"a": [(7, {"b": {7}})]}),
    "twice": (lambda e: [e, e], [7, 7]),
    "named tuple": (lambda e: Point(e, y=2), Point(7, 2)),
    "dataclass": (lambda e: Box([e]), Box([7])),
    "slice": (lambda e: slice(e, None), slice(7, None)),
}


def types_in(value: Any) -> Any:
    """Return the types of a nesting in its own shape."""
    if isinstance(value, dict):
        return type(value), {key: types_in(item) for key, item in value.items()}

    if isinstance(value, (list, tuple)):
        return type(value), [types_in(item) for item in value]

    return type(value)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_outputs_nested_in_an_argument_keep_the_types_around_them(nesting: str) -> None:
    nest, expected = NESTINGS[nesting]
    graph = built(lambda: gather(nest(same(7)), key=nest(same(7))))
    (positional,), keyword = evaluate(graph)

    assert names(graph) == ["same(0)", ":parameter:7(1)", "same(2)", ":parameter:7(3)", "gather(4)"]
    assert graph.edges == {(1, 0), (3, 2), (0, 4), (2, 4)}
    assert positional == keyword["key"] == expected
    assert types_in(positional) == types_in(keyword["key"]) == types_in(expected)


def test_argument_with_an_output_is_no_parameter_but_its_neighbours_are() -> None:
    graph = built(lambda: gather([pair(), 1], [2, 3]))

    assert names(graph) == ["pair(0)", "gather(1)", ":parameter:[2, 3](2)"]


def test_output_in_the_closure_of_an_electron_is_an_edge_of_each_of_its_nodes() -> None:
    def compose() -> Any:
        first = same(7)

        @ct.electron
        def closure() -> Any:
            return [first]

        return closure(), closure()

    graph = built(compose)

    assert graph.edges == {(1, 0), (0, 2), (0, 3), (2, 4), (3, 4)}
    assert {node.function for node in graph.nodes if node.name == "closure"} == {1}
    assert evaluate(graph) == ([7], [7])


def test_output_as_a_default_of_an_electron_is_an_edge() -> None:
    def compose() -> Any:
        first = same(7)

        @ct.electron
        def with_default(x: Any = first) -> Any:
            return x

        return with_default()

    graph = built(compose)

    assert (0, 2) in graph.edges
    assert evaluate(graph) == 7


# --- parts of outputs --------------------------------------------------------------------------------------------


def test_items_attributes_and_slices_are_nodes() -> None:
    def compose() -> Any:
        value = same({"k": [10, 20, 30], 0: Box("inside")})
        return value["k"], value["k"][-1], value["k"][1:], value["k"][::-1], value[0].content

    graph = built(compose)
    expected = ([10, 20, 30], 30, [20, 30], [30, 20, 10], "inside")

    assert [node.name for node in graph.nodes[2:]] == [
        ":getitem:k",
        ":getitem:k",
        ":getitem:-1",
        ":getitem:k",
        ":getitem:slice(1, None, None)",
        ":getitem:k",
        ":getitem:slice(None, None, -1)",
        ":getitem:0",
        ":getattr:content",
        ":postprocess:",
    ]
    assert evaluate(graph) == expected


def test_item_named_by_an_output_has_both_edges() -> None:
    graph = built(lambda: same([10, 20, 30])[same(1)])

    assert graph.edges == {(1, 0), (3, 2), (0, 4), (2, 4)}
    assert evaluate(graph) == 20


def test_slice_bounded_by_an_output() -> None:
    graph = built(lambda: same([10, 20, 30])[same(1) : 3])

    assert {(0, 4), (2, 4)} <= graph.edges
    assert evaluate(graph) == [20, 30]


def test_unpacking_another_number_fails_as_it_does_in_python() -> None:
    def compose() -> Any:
        a, b = same([1, 2, 3])
        return a, b

    with pytest.raises(ValueError, match="expected 2 values to unpack, got 3"):
        evaluate(built(compose))


def test_what_a_function_closes_over_is_taken_at_each_call() -> None:
    def compose() -> Any:
        factor = 1
        scaled = ct.electron(lambda x: factor * x)
        first = scaled(7)
        factor = 2
        return first, scaled(7)

    assert evaluate(built(compose)) == (7, 14)


def test_methods_can_be_electrons() -> None:
    class Scale:
        factor = 3

        @ct.electron
        def apply(self, x: int) -> int:
            return self.factor * x

    assert evaluate(built(lambda: Scale().apply(2))) == 6
    assert Scale().apply(2) == 6


def test_unpacking_a_known_number_makes_one_node_per_target() -> None:
    def compose() -> Any:
        a, b, c = same([1, 2, 3])
        return c, b, a

    graph = built(compose)

    assert names(graph)[2:] == [":unpack:3(2)", ":getitem:0(3)", ":getitem:1(4)", ":getitem:2(5)"]
    assert evaluate(graph) == (3, 2, 1)


def test_unpacking_one_and_nested_targets() -> None:
    def compose() -> Any:
        (only,) = same([[1, (2, 3)]])
        [first, (second, third)] = only
        return [first, second, third]

    assert evaluate(built(compose)) == [1, 2, 3]


def test_unpacking_in_a_for_target() -> None:
    def compose() -> Any:
        return [a + b for a, b in [pair(), pair()]]

    assert evaluate(built(compose)) == [7, 7]


def test_unpacking_more_targets_than_an_instruction_has_room_for() -> None:
    targets = ", ".join(f"v{place}" for place in range(300))
    scope: dict[str, Any] = {"same": same}
    exec(f"def compose():\n    {targets} = same(list(range(300)))\n    return v0, v299", scope)

    assert evaluate(built(scope["compose"])) == (0, 299)


def test_probes_of_interpreters_make_no_nodes() -> None:
    def compose() -> Any:
        output = pair()
        assert not hasattr(output, "_repr_html_")
        assert not hasattr(output, "_ipython_display_")
        assert not hasattr(output, "__array__")
        assert repr(output) == "<output of pair(0)>"
        return output

    assert names(built(compose)) == ["pair(0)"]


# --- arithmetic --------------------------------------------------------------------------------------------------

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift"]


@pytest.mark.parametrize("name", BINARY)
def test_binary_operators(name: str) -> None:
    function = getattr(operator, name)
    graph = built(lambda: (function(same(13), 3), function(3, same(13)), function(same(13), same(3))))

    assert evaluate(graph) == (function(13, 3), function(3, 13), function(13, 3))
    assert graph.nodes[2].name == graph.nodes[5].name == graph.nodes[10].name == f":{name.rstrip('_')}:"
    assert {(0, 2), (3, 5), (6, 10), (8, 10)} <= graph.edges


def test_matrix_product() -> None:
    assert evaluate(built(lambda: (same(Column()) @ 1, Row() @ same(Column())))) == ("column @ it", "it @ column")


@pytest.mark.parametrize(("name", "value"), [("neg", -5), ("pos", -5), ("invert", 5), ("abs", -5)])
def test_unary_operators(name: str, value: int) -> None:
    function = abs if name == "abs" else getattr(operator, name)
    graph = built(lambda: function(same(value)))

    assert graph.nodes[2].name == f":{name}:"
    assert evaluate(graph) == function(value)


def test_augmented_assignment_makes_a_new_output_and_leaves_the_old_one() -> None:
    def compose() -> Any:
        before = after = same([1])
        after += [2]
        return before, after

    assert evaluate(built(compose)) == ([1], [1, 2])


def test_arithmetic_with_an_array_on_the_right() -> None:
    result = evaluate(built(lambda: same(np.array([1, 2])) + np.array([10, 20])))

    assert result.tolist() == [11, 22]


def test_arithmetic_with_an_array_on_the_left_is_one_node() -> None:
    graph = built(lambda: np.array([10, 20]) + same(np.array([1, 2])))

    assert names(graph)[2:] == [":add:(2)"]
    assert evaluate(graph).tolist() == [11, 22]


@pytest.mark.parametrize(
    ("use", "expected"),
    [(lambda e: divmod(e, 4), (3, 1)), (lambda e: round(e, -1), 10), (lambda e: pow(e, 2, 5), 4)],
    ids=["divmod", "round", "pow"],
)
def test_arithmetic_by_built_in_functions(use: Callable[[Any], Any], expected: Any) -> None:
    assert evaluate(built(lambda: use(same(13)))) == expected


# --- what a lattice returns --------------------------------------------------------------------------------------


def test_lattice_may_return_none() -> None:
    graph = built(lambda: [same(1), None][1])

    assert len(graph.nodes) == 2
    assert evaluate(graph) is None


def test_lattice_may_return_constants_without_any_node() -> None:
    graph = built(lambda: {"a": [1]})

    assert graph.nodes == []
    assert evaluate(graph) == {"a": [1]}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_lattice_may_return_any_nesting(nesting: str) -> None:
    nest, expected = NESTINGS[nesting]
    value = evaluate(built(lambda: nest(same(7))))

    assert value == expected
    assert types_in(value) == types_in(expected)


def test_unpicklable_return_value_is_named() -> None:
    @ct.lattice
    def returns_a_lock() -> Any:
        return threading.Lock()

    with pytest.raises(GraphError) as caught:
        returns_a_lock.build_graph()

    assert str(caught.value) == (
        "the return value of lattice 'returns_a_lock' cannot be pickled: cannot pickle '_thread.lock' object; "
        "pass plain data instead, or create the object inside the electron"
    )


# --- ct.wait -----------------------------------------------------------------------------------------------------


def test_wait_adds_edges_and_returns_the_child() -> None:
    def compose() -> Any:
        first, second, third, child = pair(), pair(), pair(), pair()
        assert ct.wait(child, [first, second]) is child
        assert ct.wait(child, third) is child
        return None

    assert built(compose).edges == {(0, 3), (1, 3), (2, 3)}


def test_wait_for_the_same_twice_is_one_edge() -> None:
    def compose() -> Any:
        parent, child = pair(), pair()
        ct.wait(child, [parent, parent])
        return ct.wait(child, (parent,))

    assert built(compose).edges == {(0, 1)}


def test_wait_for_nothing_adds_nothing() -> None:
    assert built(lambda: ct.wait(pair(), [])).edges == set()


def test_wait_for_what_is_called_later_is_refused() -> None:
    def compose() -> Any:
        child, parent = pair(), same(1)
        return ct.wait(child, parent)

    with pytest.raises(GraphError) as caught:
        built(compose)

    assert str(caught.value) == (
        "ct.wait: pair(0) cannot wait for same(1), which was called later; "
        "call it first, or the graph could have a circle"
    )


def test_circle_of_waits_is_refused() -> None:
    def compose() -> Any:
        first, second = pair(), pair()
        ct.wait(second, first)
        return ct.wait(first, second)

    with pytest.raises(GraphError, match=r"pair\(0\) cannot wait for pair\(1\)"):
        built(compose)


def test_an_output_waits_for_others() -> None:
    def compose() -> Any:
        first, second = pair(), pair()
        return pair().wait_for([first, second]).wait_for(first)

    assert built(compose).edges == {(0, 2), (1, 2)}


def test_wait_for_itself_is_refused() -> None:
    def compose() -> Any:
        output = pair()
        return ct.wait(output, output)

    with pytest.raises(GraphError, match=r"pair\(0\) cannot wait for pair\(0\)"):
        built(compose)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda e: ct.wait(e, [5]), "ct.wait takes the outputs of electrons, not 5 (int)"),
        (lambda e: ct.wait(e, [e, None]), "ct.wait takes the outputs of electrons, not None (NoneType)"),
        (lambda e: ct.wait("child", e), "ct.wait takes the outputs of electrons, not child (str)"),
        (lambda e: ct.wait([e], [e]), "ct.wait takes the outputs of electrons, not [<output of pair(0)>] (list)"),
    ],
    ids=["number", "one of them", "child", "list of children"],
)
def test_wait_takes_only_outputs(use: Callable[[Any], Any], message: str) -> None:
    assert refusal_of(use) == message


@pytest.mark.parametrize("parents", [5, None])
def test_wait_for_a_single_thing_that_is_no_output_is_refused(parents: Any) -> None:
    assert refusal_of(lambda e: ct.wait(e, parents)).startswith("ct.wait takes the outputs of electrons, not ")


def test_wait_adds_no_edge_if_one_parent_is_refused_for_its_type() -> None:
    graphs = []

    def compose() -> Any:
        parent, child = pair(), pair()
        graphs.append(parent._ct_builder.graph)
        return ct.wait(child, [parent, 5])

    with pytest.raises(GraphError):
        built(compose)

    assert graphs[0].edges == set()


def test_wait_for_an_output_of_another_run_is_refused() -> None:
    kept = output_of_another_run()

    with pytest.raises(GraphError) as caught:
        built(lambda: ct.wait(pair(), kept))

    assert str(caught.value) == (
        "pair(0) belongs to another run of lattice 'another'; "
        "an output can be used only in the lattice call that made it"
    )


def test_wait_outside_of_a_lattice_returns_the_child() -> None:
    assert ct.wait(1, [2, 3]) == 1


def test_lattice_with_a_wait_just_runs() -> None:
    @ct.lattice
    def workflow() -> Any:
        parent = same(1)
        return ct.wait(add(1, 2), parent)

    assert workflow() == 3


# --- what cannot become a graph ----------------------------------------------------------------------------------


def output_of_another_run() -> Any:
    kept = []

    @ct.lattice
    def another() -> Any:
        kept.append(pair())

    another.build_graph()
    return kept[0]


def loop(e: Any) -> None:
    for _ in e:
        pass


def starred(e: Any) -> Any:
    first, *rest = e
    return first, rest


def change(e: Any) -> None:
    e[0] = 1


def remove(e: Any) -> None:
    del e[0]


def branch(e: Any) -> int:
    if e:
        return 1

    return 2


def enter(e: Any) -> None:
    with e:
        pass


def change_attribute(e: Any) -> None:
    e.x = 1


def remove_attribute(e: Any) -> None:
    del e.x


WHOLE = {
    loop: "pair(0) cannot be iterated over in lattice 'refused': its value is known only after it has run. "
    "Loop inside an electron, or unpack a known number: a, b = e.",
    len: "pair(0) cannot be measured with len() in lattice 'refused': its value is known only after it has run. "
    "Call len() inside an electron.",
    branch: "pair(0) cannot be used as a condition in lattice 'refused': its value is known only after it has run. "
    "Put the if inside an electron.",
    str: "pair(0) cannot be made a string in lattice 'refused': its value is known only after it has run. "
    "Format it inside an electron.",
    float: "pair(0) cannot be made a float in lattice 'refused': its value is known only after it has run. "
    "Call float() inside an electron.",
    change: "pair(0) cannot be changed in lattice 'refused': its value is known only after it has run. "
    "Electrons return new values; change it inside an electron.",
    pickle.dumps: "pair(0) cannot be pickled or copied in lattice 'refused': its value is known only after it has run. "
    "Pass it to an electron, or return it from the lattice.",
    reversed: "pair(0) cannot be iterated over in lattice 'refused': its value is known only after it has run. "
    "Reverse it inside an electron.",
}


@pytest.mark.parametrize("use", WHOLE, ids=lambda use: use.__name__)
def test_refusals_say_what_is_wrong_where_and_what_to_do(use: Callable[[Any], Any]) -> None:
    assert refusal_of(use) == WHOLE[use]


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda e: list(e), "pair(0) cannot be iterated over"),
        (lambda e: tuple(e), "pair(0) cannot be iterated over"),
        (lambda e: [x for x in e], "pair(0) cannot be iterated over"),  # noqa: C416
        (lambda e: [1, *e], "pair(0) cannot be iterated over"),
        (lambda e: gather(*e), "pair(0) cannot be iterated over"),
        (lambda e: sum(e), "pair(0) cannot be iterated over"),
        (starred, "pair(0) cannot be iterated over"),
        (lambda e: bool(e), "pair(0) cannot be used as a condition"),
        (lambda e: not e, "pair(0) cannot be used as a condition"),
        (lambda e: e and 1, "pair(0) cannot be used as a condition"),
        (lambda e: e == 1, "pair(0) cannot be compared with =="),
        (lambda e: 1 == e, "pair(0) cannot be compared with =="),  # noqa: SIM300
        (lambda e: e == e, "pair(0) cannot be compared with =="),
        (lambda e: e in [1, 2], "pair(0) cannot be compared with =="),
        (lambda e: e != 1, "pair(0) cannot be compared with !="),
        (lambda e: e < 1, "pair(0) cannot be compared with <"),
        (lambda e: e <= 1, "pair(0) cannot be compared with <="),
        (lambda e: e > 1, "pair(0) cannot be compared with >"),
        (lambda e: 1 < e, "pair(0) cannot be compared with >"),  # noqa: SIM300
        (lambda e: e >= 1, "pair(0) cannot be compared with >="),
        (lambda e: 1 in e, "pair(0) cannot be searched with 'in'"),
        (lambda e: int(e), "pair(0) cannot be made an int"),
        (lambda e: complex(e), "pair(0) cannot be made a complex"),
        (lambda e: [1, 2][e], "pair(0) cannot be made an index"),
        (lambda e: range(e), "pair(0) cannot be made an index"),
        (lambda e: f"{e}", "pair(0) cannot be formatted"),
        (lambda e: f"{e:>5}", "pair(0) cannot be formatted"),
        (lambda e: "{}".format(e), "pair(0) cannot be formatted"),  # noqa: UP032
        (lambda e: f"{e!s}", "pair(0) cannot be made a string"),
        (lambda e: "%s" % (e,), "pair(0) cannot be made a string"),  # noqa: UP031
        (lambda e: print(e), "pair(0) cannot be made a string"),
        (lambda e: e.method(), ":getattr:method(1) cannot be called"),
        (lambda e: e.method(1, key=2), ":getattr:method(1) cannot be called"),
        (lambda e: e(), "pair(0) cannot be called"),
        (lambda e: e[0](), ":getitem:0(1) cannot be called"),
        (lambda e: gather(**e), ":getattr:keys(1) cannot be called"),
        (remove, "pair(0) cannot be changed"),
        (lambda e: copy.copy(e), "pair(0) cannot be pickled or copied"),
        (lambda e: copy.deepcopy([e]), "pair(0) cannot be pickled or copied"),
    ],
)
def test_value_that_is_not_known_yet_cannot_be_used(use: Callable[[Any], Any], what: str) -> None:
    assert refusal_of(use).startswith(what + " in lattice 'refused': its value is known only after it has run. ")


def test_with_statement_is_refused() -> None:
    assert refusal_of(enter).startswith("pair(0) cannot be entered with 'with' in lattice 'refused'")


@pytest.mark.parametrize("use", [change_attribute, remove_attribute])
def test_attributes_cannot_be_changed(use: Callable[[Any], Any]) -> None:
    assert refusal_of(use).startswith("pair(0) cannot be changed in lattice 'refused'")


def test_output_of_another_run_is_no_argument() -> None:
    kept = output_of_another_run()

    for argument in (kept, [kept], {"k": (kept,)}):
        with pytest.raises(GraphError) as caught:
            built(lambda argument=argument: same(argument))  # type: ignore[misc]

        assert str(caught.value) == (
            "pair(0) belongs to another run of lattice 'another'; "
            "an output can be used only in the lattice call that made it"
        )


def test_output_of_another_run_is_no_return_value() -> None:
    kept = output_of_another_run()

    with pytest.raises(GraphError, match="belongs to another run of lattice 'another'"):
        built(lambda: [kept])


@pytest.mark.parametrize("use", [lambda e: e + 1, lambda e: 1 + e, lambda e: e[0], lambda e: e.x, lambda e: -e])
def test_output_of_another_run_is_no_operand(use: Callable[[Any], Any]) -> None:
    kept = output_of_another_run()

    with pytest.raises(GraphError) as caught:
        built(lambda: use(kept))

    assert str(caught.value) == "pair(0) can be used only while its lattice 'another' is being built"


def test_output_is_of_no_use_after_its_lattice() -> None:
    with pytest.raises(GraphError, match="can be used only while its lattice 'another' is being built"):
        output_of_another_run()[0]


def test_two_runs_of_one_lattice_have_nothing_in_common() -> None:
    @ct.lattice
    def workflow(x: int) -> Any:
        return same(x)

    first, second = workflow.build_graph(1), workflow.build_graph(2)

    assert (evaluate(first), evaluate(second)) == (1, 2)
    assert [len(graph.nodes) for graph in (first, second)] == [2, 2]


# --- wrong calls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "problem"),
    [
        (lambda: add(), "missing a required argument: 'x'"),
        (lambda: add(1, 2, 3), "too many positional arguments"),
        (lambda: add(1, z=2), "got an unexpected keyword argument 'z'"),
        (lambda: add(1, x=2), "multiple values for argument 'x'"),
    ],
    ids=["missing", "too many", "unexpected", "twice"],
)
def test_arguments_that_do_not_fit_the_electron(use: Callable[[], Any], problem: str) -> None:
    with pytest.raises(GraphError) as caught:
        built(use)

    assert str(caught.value) == (
        f"electron add(x: 'Any', y: 'Any' = 100) -> 'Any' cannot be called like this: {problem}"
    )


def test_arguments_that_do_not_fit_the_lattice() -> None:
    @ct.lattice
    def workflow(x, *, y):  # type: ignore[no-untyped-def]
        raise AssertionError("must not run")

    with pytest.raises(GraphError) as caught:
        workflow.build_graph(1, 2)

    assert str(caught.value) == "lattice workflow(x, *, y) cannot be called like this: too many positional arguments"


def test_unpicklable_positional_argument_is_named() -> None:
    with pytest.raises(GraphError) as caught:
        built(lambda: gather(1, threading.Lock()))

    assert str(caught.value) == (
        "argument 2 of electron 'gather' cannot be pickled: cannot pickle '_thread.lock' object; "
        "pass plain data instead, or create the object inside the electron"
    )


def test_unpicklable_keyword_argument_is_named() -> None:
    with pytest.raises(GraphError) as caught:
        built(lambda: gather(1, handle=[pair(), threading.Lock()]))

    assert str(caught.value) == (
        "argument 'handle' of electron 'gather' cannot be pickled: cannot pickle '_thread.lock' object; "
        "pass plain data instead, or create the object inside the electron"
    )


def test_what_a_function_cannot_take_along_is_named() -> None:
    with open(os.devnull, "a") as log:

        def write() -> None:
            log.write("line")

        @ct.electron
        def logged() -> None:
            write()

        with pytest.raises(GraphError) as caught:
            built(logged)

    assert str(caught.value) == (
        "the function of electron 'logged' cannot be pickled: it uses 'log', which is defined around "
        "test_what_a_function_cannot_take_along_is_named.<locals>.write, a TextIOWrapper: Cannot pickle files that are "
        "not opened for reading: a; create it inside the function"
    )


def test_unpicklable_operand_is_named() -> None:
    with pytest.raises(GraphError) as caught:
        built(lambda: pair() + threading.Lock())

    assert str(caught.value) == (
        "the operand of ':add:' cannot be pickled: cannot pickle '_thread.lock' object; "
        "pass plain data instead, or create the object inside the electron"
    )


def test_call_that_was_refused_leaves_no_node() -> None:
    def compose() -> Any:
        try:
            return same(threading.Lock())
        except GraphError:
            return same("instead")

    graph = built(compose)

    assert names(graph) == ["same(0)", ":parameter:instead(1)"]


def test_lattice_in_a_lattice_is_one_node() -> None:
    @ct.lattice
    def inner(value: Any) -> Any:
        return same(value), pair()

    @ct.lattice
    def outer() -> Any:
        return inner(pair())

    graph = outer.build_graph()

    assert names(graph) == ["pair(0)", ":sublattice:inner(1)"]
    assert graph.nodes[1].role == Role.SUBLATTICE
    assert graph.edges == {(0, 1)}
    assert graph.result_node == 1


def test_function_of_a_sublattice_builds_its_graph() -> None:
    @ct.lattice
    def inner(value: Any) -> Any:
        return same(value), pair()

    @ct.lattice
    def outer() -> Any:
        return inner(pair())

    child = from_json(evaluate(outer.build_graph()))

    assert child.lattice == "inner"
    assert names(child) == ["same(0)", ":parameter:(3, 4)(1)", "pair(2)"]
    assert evaluate(child) == ((3, 4), (3, 4))


def test_arguments_of_a_sublattice_that_do_not_fit_are_refused() -> None:
    @ct.lattice
    def inner(value: Any) -> Any:
        return same(value)

    @ct.lattice
    def outer() -> Any:
        return inner()

    with pytest.raises(GraphError, match=r"lattice inner\(value: .*Any.*missing a required argument: 'value'"):
        outer.build_graph()


# --- the node that puts the return value together ----------------------------------------------------------------


def test_return_value_of_several_outputs_is_put_together_by_a_node_at_the_end() -> None:
    graph = built(lambda: {"pair": pair(), "again": [same(1), 7]})
    last = graph.nodes[-1]

    assert (last.name, last.role) == (":postprocess:", Role.RESULT)
    assert graph.result_node == last.node_id
    assert graph.result is None
    assert {source for source, target in graph.edges if target == last.node_id} == {0, 1}
    assert evaluate(graph) == {"pair": (3, 4), "again": [1, 7]}


def test_one_output_as_the_return_value_needs_no_node() -> None:
    graph = built(lambda: same(pair()))

    assert [node.role for node in graph.nodes] == [Role.TASK, Role.TASK]
    assert graph.result_node == 1


def test_return_value_without_outputs_needs_no_node() -> None:
    def compose() -> Any:
        pair()
        return [1, "two"]

    graph = built(compose)

    assert [node.role for node in graph.nodes] == [Role.TASK]
    assert graph.result_node is None
    assert evaluate(graph) == [1, "two"]


# --- equal calls -------------------------------------------------------------------------------------------------


def test_equal_calls_are_equal_bytes_wherever_they_stand() -> None:
    def compose() -> Any:
        return same([pair()]), pair(), same([pair()])

    graph = built(compose)
    first, second = (node for node in graph.nodes if node.name == "same")

    assert first.call == second.call
    assert first.call_sources != second.call_sources


def test_function_of_a_lattice_can_be_part_of_another() -> None:
    @ct.lattice
    def inner(x: int) -> Any:
        return add(x, 1)

    @ct.lattice
    def outer() -> Any:
        return add(inner.function(1), 10)

    assert evaluate(outer.build_graph()) == 12


# --- outside of a lattice ----------------------------------------------------------------------------------------


def test_electron_outside_of_a_lattice_just_runs() -> None:
    assert add(1, y=2) == 3

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add()  # type: ignore[call-arg]


def test_lattice_outside_of_a_lattice_just_runs() -> None:
    @ct.lattice
    def workflow(x: int) -> Any:
        first, second = pair()
        return [value for value in (add(x), first, second) if value > 3]

    assert workflow(1) == [101, 4]


def test_error_while_building_ends_the_building() -> None:
    def broken() -> Any:
        pair()
        raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user"):
        built(broken)

    assert pair() == (3, 4)


def test_electrons_and_lattices_look_like_their_functions() -> None:
    def documented(x: int) -> int:
        """Say something."""
        return x

    for made in (ct.electron(documented), ct.electron(executor="local")(documented), ct.lattice(documented)):
        assert made.__name__ == made.name == "documented"
        assert made.__doc__ == "Say something."
        assert made.function is documented
        assert made(4) == 4


def test_electron_in_an_electron_is_its_function_when_the_graph_runs() -> None:
    @ct.electron
    def outer(x: int) -> Any:
        return add(x, 1)

    graph = built(lambda: outer(1))

    assert names(graph) == ["outer(0)", ":parameter:1(1)"]
    assert evaluate(graph) == 2


def test_electron_can_be_an_argument() -> None:
    assert evaluate(built(lambda: same(add)))(1, 2) == 3


def test_calls_return_outputs_while_building() -> None:
    seen = []
    built(lambda: seen.append(type(pair())))

    assert seen == [NodeOutput]

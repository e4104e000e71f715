"""Cases made as small as they can be made while they still fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from cases import ANYWHERE, Cancel, Case, Kill, Tell, Vertex

T = TypeVar("T")
Happening = tuple[int, str, "Cancel | Kill | Tell"]


def smallest(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a case that fails, of which nothing can be left out or made simpler so that it still does."""
    while (found := next(filter(fails, smaller(case)), None)) is not None:
        case = found

    return case


def smaller(case: Case) -> Iterator[Case]:
    """Yield the cases that have one thing less, or one that is simpler."""
    for name, simpler in (("graph", _graphs), ("schedule", _happenings), ("oddities", _oddities)):
        yield from (replace(case, **{name: value}) for value in simpler(getattr(case, name)))

    yield from _with_defaults(case, "max_workers", "pack", "ends_members")


def _graphs(graph: tuple[Vertex, ...]) -> Iterator[tuple[Vertex, ...]]:
    if len(graph) > 1:
        yield from (_without_node(graph, node) for node in reversed(range(len(graph))))

    yield from _each(graph, _vertices)


def _without_node(graph: tuple[Vertex, ...], node: int) -> tuple[Vertex, ...]:
    def renumbered(vertex: Vertex) -> Vertex:
        return replace(vertex, sources=tuple(s - (s > node) for s in vertex.sources if s != node))

    return tuple(map(_with_a_role, map(renumbered, graph[:node] + graph[node + 1 :])))


def _vertices(vertex: Vertex) -> Iterator[Vertex]:
    if vertex.role != "task":
        yield replace(vertex, role="task", graph=())

    if vertex.graph:
        yield from (replace(vertex, graph=graph) for graph in _graphs(vertex.graph))

    yield from _with_defaults(vertex, "retries", "delay")
    yield from (_with_a_role(replace(vertex, sources=sources)) for sources in _without_one(vertex.sources))


def _with_a_role(vertex: Vertex) -> Vertex:
    """An operation needs something; what needs nothing is a task."""
    return replace(vertex, role="task") if vertex.role == "operation" and not vertex.sources else vertex


def _happenings(schedule: tuple[Happening, ...]) -> Iterator[tuple[Happening, ...]]:
    yield from _without_one(schedule)
    yield from _each(schedule, _happening)


def _happening(happening: Happening) -> Iterator[Happening]:
    points, place, event = happening
    yield from ((fewer, place, event) for fewer in _numbers(points, 1))

    if place != ANYWHERE:
        yield points, ANYWHERE, event

    if isinstance(event, Cancel):
        yield from (
            (points, place, simpler) for simpler in _with_defaults(event, "nodes", "rings", "dispatch", "force")
        )
        yield from ((points, place, replace(event, nodes=nodes)) for nodes in _names(event.nodes or ()))


def _names(nodes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if len(nodes) > 1:
        yield from _without_one(nodes)

    yield from _each(nodes, lambda node: _numbers(node, 0))


def _oddities(oddities: tuple[tuple[int, str], ...]) -> Iterator[tuple[tuple[int, str], ...]]:
    yield from _without_one(oddities)
    yield from _each(oddities, lambda oddity: ((fewer, oddity[1]) for fewer in _numbers(oddity[0], 0)))


def _numbers(number: int, least: int) -> Iterator[int]:
    """Yield smaller numbers, the boldest first."""
    yield from sorted({n for n in (least, number // 2, number - 1) if least <= n < number})


def _without_one(values: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    return (values[:place] + values[place + 1 :] for place in range(len(values)))


def _each(values: tuple[T, ...], simpler: Callable[[T], Iterator[T]]) -> Iterator[tuple[T, ...]]:
    """Yield the values with one of them made simpler."""
    for place, value in enumerate(values):
        yield from ((*values[:place], found, *values[place + 1 :]) for found in simpler(value))


def _with_defaults(value: T, *names: str) -> Iterator[T]:
    """Yield a dataclass with one of its fields, where it is not, as it is by default."""
    for name in names:
        default = type(value).__dataclass_fields__[name].default

        if getattr(value, name) != default:
            yield replace(value, **{name: default})

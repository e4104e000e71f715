"""What random schedules are drawn from: graphs, oddities of the backend, and what happens at which point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from hypothesis import strategies as st
from simulated import ODDITIES
from simulated import PACKS as PACK_ODDITIES

#: The places of points.
HOOKS = ("pickle", "upload", "provision", "run", "fetch", "cancel", "find", "release")
ANYWHERE = "anywhere"
PLACES = (ANYWHERE, "before a commit", "after a commit", "nothing to do", "nobody lives", "the backend accepts")
PLACES += tuple(f"{hook} {how}" for hook in HOOKS for how in ("is called", "answers"))
#: Where there is most to come between, where there are packs, sublattices and retries.
HOT = ("run is called", "run reports", "run answers", "cancel_members is called", "cancel_members answers")
HOT += ("before a sublattice", "after a sublattice", "nothing to do", "the backend accepts", "upload is called")


@dataclass(frozen=True)
class Vertex:
    """A node: which nodes before it in its graph it needs; what it is; how often it is tried again; its sublattice."""

    sources: tuple[int, ...] = ()
    role: str = "task"
    retries: int = 0
    delay: float = 0.0
    graph: tuple[Vertex, ...] = ()

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        drawn = [f"{f.name}={values[f.name]!r}" for f in fields(self) if values[f.name] != f.default]
        return f"Vertex({', '.join(drawn)})"


@dataclass(frozen=True)
class Cancel:
    """A client cancels nodes (by their number, modulo the size of the graph) or everything; the bell may get lost.

    Attributes:
        dispatch: Whose: of those that there are, the root first, modulo their number.
    """

    nodes: tuple[int, ...] | None = None
    rings: bool = True
    dispatch: int = 0


@dataclass(frozen=True)
class Kill:
    """The dispatcher is killed."""


@dataclass(frozen=True)
class Tell:
    """The dispatcher is told to end."""


@dataclass(frozen=True)
class Case:
    """What is drawn.

    Attributes:
        oddities: What is odd about which node; the nodes of sublattices are counted on.
        schedule: How many points to pass, at which place then, and what happens there.
        ends_members: Whether the executor can end single nodes of a pack.
    """

    graph: tuple[Vertex, ...]
    oddities: tuple[tuple[int, str], ...] = ()
    schedule: tuple[tuple[int, str, Cancel | Kill | Tell], ...] = ()
    max_workers: int | None = None
    pack: int | str | None = None
    ends_members: bool = False


DEPTH, NODES = 6, 40
#: Small graphs most of the time: what goes wrong in a large one mostly goes wrong in a small one, and sooner.
SIZES = st.sampled_from([1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8] * 2 + [None])
#: Sublattices are smaller still, and the deeper the more so; here they end.
INNER_SIZES, NESTED = (st.sampled_from([1, 1, 2, 2, 3]), st.sampled_from([1, 1, 2]), st.just(1)), 3
ROLES = st.sampled_from(["task", "task", "task", "operation", "sublattice"])


@st.composite
def graphs(draw: st.DrawFn, vertices: Callable[..., st.SearchStrategy[Vertex]]) -> tuple[Vertex, ...]:
    """Draw a graph: each node needs nodes before it."""
    size = draw(SIZES) or draw(st.integers(1, NODES))
    return draw_nodes(draw, size, vertices)


def draw_nodes(draw: st.DrawFn, size: int, vertices: Callable[..., Any], *more: Any) -> tuple[Vertex, ...]:
    depth: list[int] = []
    graph = []

    for node in range(size):
        drawn = draw(st.lists(st.integers(0, node - 1), max_size=3, unique=True)) if node else []
        sources = tuple(sorted(source for source in drawn if depth[source] < DEPTH))
        depth.append(1 + max((depth[source] for source in sources), default=0))
        graph.append(draw(vertices(sources, *more)))

    return tuple(graph)


def plain(sources: tuple[int, ...]) -> st.SearchStrategy[Vertex]:
    return st.just(Vertex(sources))


@st.composite
def rich(draw: st.DrawFn, sources: tuple[int, ...], level: int = 0) -> Vertex:
    """Draw a node that may be anything; `level` is how deep its graph is nested."""
    role = draw(ROLES)

    if (role == "operation" and not sources) or (role == "sublattice" and level == NESTED):
        role = "task"

    graph = draw_nodes(draw, draw(INNER_SIZES[level]), rich, level + 1) if role == "sublattice" else ()
    # The user cannot say that an operation is tried again.
    retries = draw(RETRIES) if role != "operation" else 0
    return Vertex(sources, role, retries, draw(DELAYS) if retries else 0.0, graph)


RETRIES, DELAYS = st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([0.0, 0.0, 1.0, 50.0])
NODE = st.integers(0, NODES - 1)
NAMES = st.lists(NODE, min_size=1, max_size=3).map(tuple)
NAMED = st.none() | NAMES
GAPS = st.one_of(st.integers(1, 3), st.integers(1, 30), st.integers(1, 100))


CANCELS = st.builds(Cancel, NAMED, st.booleans())
EVENTS = st.one_of(CANCELS, CANCELS, st.just(Kill()), st.just(Kill()), st.just(Tell()))
WHERE = st.one_of(st.just(ANYWHERE), st.sampled_from(PLACES))
PLAIN_CASES = st.builds(
    Case,
    graphs(plain),
    st.lists(st.tuples(st.integers(0, 7) | NODE, st.sampled_from(ODDITIES)), max_size=5).map(tuple),
    st.lists(st.tuples(GAPS, WHERE, EVENTS), max_size=6).map(tuple),
    st.sampled_from([None, None, 1, 2]),
)
#: Single nodes more often than everything: what happens to the others is the question.
RICH_CANCELS = st.builds(Cancel, NAMED | NAMES, st.booleans(), st.sampled_from([0, 0, 0, 1, 2, 3]))
RICH_EVENTS = st.one_of(RICH_CANCELS, RICH_CANCELS, RICH_CANCELS, st.just(Kill()), st.just(Kill()), st.just(Tell()))
RICH_WHERE = st.one_of(WHERE, st.sampled_from(HOT), st.sampled_from(HOT))
RICH_GAPS = st.one_of(st.integers(1, 2), st.integers(1, 5), st.integers(1, 40))
RICH_ODDITIES = st.one_of(st.sampled_from(ODDITIES), st.sampled_from(PACK_ODDITIES), st.sampled_from(PACK_ODDITIES))
RICH_CASES = st.builds(
    Case,
    graphs(rich),
    st.lists(st.tuples(st.integers(0, 7), RICH_ODDITIES), max_size=8).map(tuple),
    st.lists(st.tuples(RICH_GAPS, RICH_WHERE, RICH_EVENTS), min_size=1, max_size=6).map(tuple),
    st.sampled_from([None, None, None, 1, 2]),
    st.sampled_from([None, 2, 3, 16, 16, "chain", "chain", "auto"]),
    st.booleans(),
)
CASES = st.one_of(PLAIN_CASES, RICH_CASES)

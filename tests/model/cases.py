"""What random schedules are drawn from: graphs, oddities of the backend, and what happens at which point."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from simulated import ODDITIES

#: The places of points.
HOOKS = ("pickle", "upload", "provision", "run", "fetch", "cancel", "find", "release")
ANYWHERE = "anywhere"
PLACES = (ANYWHERE, "before a commit", "after a commit", "nothing to do", "nobody lives", "the backend accepts")
PLACES += tuple(f"{hook} {how}" for hook in HOOKS for how in ("is called", "answers"))


@dataclass(frozen=True)
class Cancel:
    """A client cancels nodes (by their number, modulo the size of the graph) or everything; the bell may get lost."""

    nodes: tuple[int, ...] | None = None
    rings: bool = True


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
        sources: By node, the nodes before it that it needs.
        oddities: What is odd about which node.
        schedule: How many points to pass, at which place then, and what happens there.
    """

    sources: tuple[tuple[int, ...], ...]
    oddities: tuple[tuple[int, str], ...] = ()
    schedule: tuple[tuple[int, str, Cancel | Kill | Tell], ...] = ()
    max_workers: int | None = None


DEPTH, NODES = 6, 40
#: Small graphs most of the time: what goes wrong in a large one mostly goes wrong in a small one, and sooner.
SIZES = st.sampled_from([1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, None])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[tuple[int, ...], ...]:
    """Draw a graph: by node the earlier ones that it needs."""
    size = draw(SIZES) or draw(st.integers(1, NODES))
    depth: list[int] = []
    graph = []

    for node in range(size):
        drawn = draw(st.lists(st.integers(0, node - 1), max_size=3, unique=True)) if node else []
        sources = tuple(sorted(source for source in drawn if depth[source] < DEPTH))
        depth.append(1 + max((depth[source] for source in sources), default=0))
        graph.append(sources)

    return tuple(graph)


NODE = st.integers(0, NODES - 1)
CANCELS = st.builds(Cancel, st.one_of(st.none(), st.lists(NODE, min_size=1, max_size=3).map(tuple)), st.booleans())
EVENTS = st.one_of(CANCELS, CANCELS, st.just(Kill()), st.just(Kill()), st.just(Tell()))
GAPS = st.one_of(st.integers(1, 3), st.integers(1, 30), st.integers(1, 100))
WHERE = st.one_of(st.just(ANYWHERE), st.sampled_from(PLACES))
CASES = st.builds(
    Case,
    graphs(),
    st.lists(st.tuples(st.integers(0, 7) | NODE, st.sampled_from(ODDITIES)), max_size=5).map(tuple),
    st.lists(st.tuples(GAPS, WHERE, EVENTS), max_size=6).map(tuple),
    st.sampled_from([None, None, 1, 2]),
)

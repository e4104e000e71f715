"""How random schedules are drawn: graphs, oddities of the backend, and what happens at which point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import TypeVar

from simulated import ODDITIES
from simulated import PACKS as PACK_ODDITIES

T = TypeVar("T")

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
        force: Whether what cannot be confirmed to have ended is given up.
    """

    nodes: tuple[int, ...] | None = None
    rings: bool = True
    dispatch: int = 0
    force: bool = False


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
SIZES = [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8] * 2 + [None]
#: Sublattices are smaller still, and the deeper the more so; here they end.
INNER_SIZES = ([1, 1, 2, 2, 3], [1, 1, 2], [1])
ROLES = ["task", "task", "task", "operation", "sublattice"]
RETRIES, DELAYS = [0, 0, 0, 1, 2], [0.0, 0.0, 1.0, 50.0]


def draw_case(random: Random) -> Case:
    """Draw a case: half of them have neither packs nor sublattices nor retries."""
    return (_plain_case if random.random() < 0.5 else _rich_case)(random)


def _plain_case(random: Random) -> Case:
    return Case(
        _graph(random, _size(random), lambda sources: Vertex(sources)),
        _some(random, 0, 5, lambda: (random.choice((random.randrange(8), _node(random))), random.choice(ODDITIES))),
        _some(random, 0, 6, lambda: (random.randint(1, random.choice((3, 30, 100))), _place(random), _event(random))),
        random.choice((None, None, 1, 2)),
    )


def _rich_case(random: Random) -> Case:
    def oddity() -> tuple[int, str]:
        return random.randrange(8), random.choice(random.choice((ODDITIES, PACK_ODDITIES, PACK_ODDITIES)))

    def happening() -> tuple[int, str, Cancel | Kill | Tell]:
        place = random.choice((_place(random), random.choice(HOT)))
        return random.randint(1, random.choice((2, 5, 40))), place, _rich_event(random)

    return Case(
        _graph(random, _size(random), lambda sources: _rich_vertex(random, sources)),
        _some(random, 0, 8, oddity),
        _some(random, 1, 6, happening),
        random.choice((None, None, None, 1, 2)),
        random.choice((None, 2, 3, 16, 16, "chain", "chain", "auto")),
        random.random() < 0.5,
    )


def _some(random: Random, least: int, most: int, draw: Callable[[], T]) -> tuple[T, ...]:
    return tuple(draw() for _ in range(random.randint(least, most)))


def _size(random: Random) -> int:
    return random.choice(SIZES) or random.randint(1, NODES)


def _node(random: Random) -> int:
    return random.randrange(NODES)


def _graph(random: Random, size: int, vertex: Callable[[tuple[int, ...]], Vertex]) -> tuple[Vertex, ...]:
    """Draw a graph: each node needs nodes before it."""
    depth: list[int] = []
    graph = []

    for node in range(size):
        drawn = random.sample(range(node), random.randint(0, min(3, node)))
        sources = tuple(sorted(source for source in drawn if depth[source] < DEPTH))
        depth.append(1 + max((depth[source] for source in sources), default=0))
        graph.append(vertex(sources))

    return tuple(graph)


def _rich_vertex(random: Random, sources: tuple[int, ...], level: int = 0) -> Vertex:
    """Draw a node that may be anything; `level` is how deep its graph is nested."""
    role, graph = random.choice(ROLES), ()

    if (role == "operation" and not sources) or (role == "sublattice" and level == len(INNER_SIZES)):
        role = "task"

    if role == "sublattice":
        size = random.choice(INNER_SIZES[level])
        graph = _graph(random, size, lambda inner: _rich_vertex(random, inner, level + 1))

    # The user cannot say that an operation is tried again.
    retries = random.choice(RETRIES) if role != "operation" else 0
    return Vertex(sources, role, retries, random.choice(DELAYS) if retries else 0.0, graph)


def _place(random: Random) -> str:
    return random.choice((ANYWHERE, random.choice(PLACES)))


def _names(random: Random) -> tuple[int, ...]:
    return _some(random, 1, 3, lambda: _node(random))


def _event(random: Random) -> Cancel | Kill | Tell:
    kind = random.choice((Cancel, Cancel, Kill, Kill, Tell))

    if kind is not Cancel:
        return kind()

    return Cancel(random.choice((None, _names(random))), random.random() < 0.5, force=random.random() < 0.25)


def _rich_event(random: Random) -> Cancel | Kill | Tell:
    kind = random.choice((Cancel, Cancel, Cancel, Kill, Kill, Tell))

    if kind is not Cancel:
        return kind()

    # Single nodes more often than everything: what happens to the others is the question.
    names = random.choice((None, _names(random), _names(random)))
    return Cancel(names, random.random() < 0.5, random.choice((0, 0, 0, 1, 2, 3)), random.random() < 0.25)

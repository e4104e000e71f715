"""The transport graph: what a lattice becomes. Pure data."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

PARAMETER = ":parameter:"
SUBLATTICE = ":sublattice:"
POSTPROCESS = ":postprocess:"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxdict = 8


@dataclass(frozen=True)
class ExecutorSpec:
    """An executor as the store keeps it: the entry point's name and the options as JSON, keys sorted."""

    name: str
    options: str = "{}"


class Role(str, Enum):
    """What a node is for. The members are strings."""

    #: A call of an electron.
    TASK = "task"
    #: An argument whose value is known from the start.
    PARAMETER = "parameter"
    #: Takes outputs apart or computes with them; cheap, so it runs with the node whose output it needs.
    OPERATION = "operation"
    #: A lattice called in a lattice: builds the graph of a dispatch of its own.
    SUBLATTICE = "sublattice"
    #: Builds the return value of the lattice from outputs.
    RESULT = "result"


@dataclass
class Node:
    """One vertex: a call of a function, or a parameter whose value is known from the start.

    Attributes:
        function_sources: The nodes whose outputs stand in the pickled function, where it has the persistent ids 0, 1, …
        call_sources: As `function_sources`, for the pickled arguments. That the pickles name places and not nodes makes
            equal calls equal bytes wherever they stand in a graph.
        options: What the user has set of retries, retry_delay, timeout and grace, as JSON.
    """

    node_id: int
    name: str
    role: Role = Role.TASK
    function: int | None = None
    function_sources: list[int] = field(default_factory=list)
    call: bytes | None = None
    call_sources: list[int] = field(default_factory=list)
    value: bytes | None = None
    executor: ExecutorSpec | None = None
    options: str = "{}"


@dataclass
class TransportGraph:
    """Nodes and edges in the order in which the lattice made them.

    Attributes:
        lattice: The name of the lattice.
        default_executor: Where electrons run that name no executor.
        settings: Of the dispatch: timeout and pack, and of a sublattice how its args and kwargs are shown.
        functions: The pickled functions; nodes name them by their place, so one that is called often is kept once.
        edges: ``(source, target)``: the target needs the source to have completed.
        result: The pickled return value of the lattice where it holds no output.
        result_node: The node whose output is the return value, where it does.
    """

    lattice: str
    default_executor: ExecutorSpec
    settings: Mapping[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    result: bytes | None = None
    result_node: int | None = None


def short(value: Any) -> str:
    """Return a value as a name can show it: bounded, on one line."""
    if isinstance(value, (str, bytes, bytearray)):
        value = value[:100]

    try:
        text = value if isinstance(value, str) else _short.repr(value)
    except Exception:
        text = object.__repr__(value)

    # Half a character, as in the name of a file that is not UTF-8, cannot be stored.
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 80 else text[:77] + "..."

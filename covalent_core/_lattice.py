"""Lattices: functions that compose electrons into a workflow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from covalent_core._electron import check_call
from covalent_core._executors import describe
from covalent_core._graph import TransportGraph, building, graph_being_built
from covalent_core.errors import GraphError

P = ParamSpec("P")
R = TypeVar("R")


class Lattice(Generic[P, R]):
    """A workflow: a function that calls electrons.

    Attributes:
        function: The function itself.
        executor: Where electrons run that name no executor.
    """

    def __init__(self, function: Callable[P, R], executor: Any = "local") -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.executor = executor

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Just run the function; to run it as a workflow, dispatch it.

        Raises:
            GraphError: Another lattice is being built.
        """
        graph = graph_being_built()

        if graph is not None:
            raise GraphError(
                f"lattice {self.name!r} is called in lattice {graph.lattice!r}, and sublattices are not supported yet; "
                f"call {self.name}.function(...) to make its electrons part of {graph.lattice!r}"
            )

        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """The name that its dispatches bear."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def build_graph(self, *args: P.args, **kwargs: P.kwargs) -> TransportGraph:
        """Run the function and record which electrons it calls with what.

        Raises:
            GraphError: The function does what cannot become a graph; nothing is stored.
            ExecutorError: An executor is not installed or its options are wrong.
        """
        check_call(self.function, f"lattice {self.name}", args, kwargs)
        graph = TransportGraph(self.name, describe(self.executor))

        with building(graph):
            value = self.function(*args, **kwargs)
            graph.result, _ = graph.pickle(value, f"the return value of lattice {self.name!r}")

        return graph


@overload
def lattice(function: Callable[P, R], /) -> Lattice[P, R]: ...
@overload
def lattice(*, executor: Any = "local") -> Callable[[Callable[P, R]], Lattice[P, R]]: ...
def lattice(function: Any = None, /, *, executor: Any = "local") -> Any:
    """Turn a function into a lattice.

    Args:
        executor: Where electrons run that name no executor of their own: an instance, or an installed one's name.
    """
    if function is None:
        return lambda function: Lattice(function, executor)

    return Lattice(function, executor)

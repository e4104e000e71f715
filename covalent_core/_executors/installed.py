"""From what a user says about an executor to what the store keeps, and back to an executor."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

from covalent_core._executors.bound import check_hooks
from covalent_core._executors.options import create_from, dump_options, load_options, options_of
from covalent_core._model.graph import ExecutorSpec
from covalent_core.errors import ExecutorNotFoundError, ExecutorPluginError

GROUP = "covalent_core.executors"


@cache
def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def installed() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of all installed executors by name."""
    return dict(sorted(_entry_points().items()))


def load_class(name: str) -> type:
    """Return the class behind an entry point.

    Raises:
        ExecutorNotFoundError: There is none of this name.
        ExecutorPluginError: The plugin cannot be imported.
    """
    if name not in _entry_points():
        _entry_points.cache_clear()

    if name not in _entry_points():
        raise ExecutorNotFoundError(
            f"no executor named {name!r}; installed: {', '.join(installed()) or 'none'}; "
            f"a plugin brings one by an entry point in the group {GROUP!r}"
        )

    try:
        loaded: type = _entry_points()[name].load()
    except Exception as error:
        raise ExecutorPluginError(
            f"executor {name!r} cannot be loaded: {error!r}; repair {_entry_points()[name].module} or install what it "
            f"imports; a dispatcher that began before that is ended with: covalent-core stop"
        ) from error

    return loaded


def _name_of(cls: type) -> str:
    for name, point in _entry_points().items():
        if point.attr == cls.__name__ and load_class(name) is cls:
            return name

    raise ExecutorNotFoundError(
        f"{cls.__module__}.{cls.__qualname__} is not an installed executor; installed: {', '.join(installed())}; add "
        f'to the pyproject.toml of its package [project.entry-points."{GROUP}"] with a line such as '
        f'{cls.__name__.removesuffix("Executor").lower()} = "{cls.__module__}:{cls.__qualname__}", and install it'
    )


def describe(executor: Any) -> ExecutorSpec:
    """Return an executor as the store keeps it.

    Args:
        executor: An instance, or the name of an installed one, whose options then come from the configuration.

    Raises:
        ExecutorNotFoundError: It is not installed.
        ExecutorOptionError: An option is unknown, mistyped or a secret.
        ExecutorPluginError: Its hooks do not fit the hookspecs.
    """
    if isinstance(executor, str):
        executor = create_from(load_class(executor), options_of(load_class(executor), executor))
    elif isinstance(executor, type):
        raise ExecutorNotFoundError(
            f"executor= takes an instance or a name, not the class itself; write {executor.__name__}(...)"
        )

    name = _name_of(type(executor))
    check_hooks(executor)
    return ExecutorSpec(name, dump_options(name, executor))


def create(spec: ExecutorSpec) -> Any:
    """Return the executor that `spec` describes, its secrets taken from the configuration or the environment."""
    cls = load_class(spec.name)
    return create_from(cls, load_options(cls, spec.name, spec.options))

"""From what a user says about an executor to what the store keeps, and from there to hooks that can be called."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable
from functools import cache, partial
from importlib import metadata
from typing import Any, get_type_hints

from anyio import to_thread
from pluggy import PluginManager

from covalent_core import hookspecs
from covalent_core._bundle import pack
from covalent_core._graph import ExecutorSpec
from covalent_core._home import read_configuration
from covalent_core._job import Job
from covalent_core.errors import ExecutorNotFoundError, ExecutorOptionError, ExecutorPluginError
from covalent_core.hookspecs import hookimpl

GROUP = "covalent_core.executors"


# --- entry points ------------------------------------------------------------------------------------------------


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
        raise ExecutorPluginError(f"executor {name!r} cannot be loaded: {error!r}; reinstall its plugin") from error

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


# --- options -----------------------------------------------------------------------------------------------------


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
        cls = load_class(executor)
        given = read_configuration().get("executors", {}).get(executor, {})
        options = {name: value for name, value in given.items() if not _is_secret(_options(cls).get(name))}
        executor = _create(cls, options)

    cls = type(executor)
    name = _name_of(cls)
    check_hooks(executor)
    return ExecutorSpec(name, json.dumps(_dump(name, executor), sort_keys=True))


def create(spec: ExecutorSpec) -> Any:
    """Return the executor that `spec` describes, its secrets taken from the configuration or the environment."""
    cls = load_class(spec.name)
    options = json.loads(spec.options)
    configured = read_configuration().get("executors", {}).get(spec.name, {})

    for name, annotation in _options(cls).items():
        if _is_secret(annotation):
            secret = os.environ.get(_secret_variable(spec.name, name), configured.get(name))
            options.update({} if secret is None else {name: secret})

    return _create(cls, options)


def _create(cls: type, options: dict[str, Any]) -> Any:
    valid = _options(cls)
    arguments = {}

    for name, value in options.items():
        if name not in valid:
            raise ExecutorOptionError(f"{cls.__name__} has no option {name!r}; valid options: {', '.join(valid)}")

        arguments[name] = _validate(cls, name, valid[name], json.dumps(value, default=str))

    try:
        return cls(**arguments)
    except TypeError as error:
        raise ExecutorOptionError(f"{cls.__name__} cannot be created: {error}") from error


def _dump(executor_name: str, executor: Any) -> dict[str, Any]:
    from pydantic import TypeAdapter

    cls: type = type(executor)
    dumped: dict[str, Any] = {}

    for name, annotation in _options(cls).items():
        if not hasattr(executor, name):
            raise ExecutorPluginError(f"{cls.__name__} takes the option {name!r} but keeps no attribute of that name")

        value = getattr(executor, name)

        if _is_secret(annotation):
            if value is not None and value != _default(cls, name):
                raise ExecutorOptionError(
                    f"option {name!r} of {cls.__name__} is a secret, which is never stored; leave it out here and put "
                    f"it under [executors.{executor_name}] in the configuration, or in the environment variable "
                    f"{_secret_variable(executor_name, name)} of the dispatcher"
                )

            continue

        try:
            text = TypeAdapter(annotation).dump_json(value, warnings=False)
        except Exception as error:
            raise ExecutorOptionError(
                f"option {name!r} of {cls.__name__} is {value!r}, which cannot be stored: {error}"
            ) from error

        _validate(cls, name, annotation, text.decode())
        dumped[name] = json.loads(text)

    return dumped


def _validate(cls: type, name: str, annotation: Any, text: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(annotation).validate_json(text)
    except ValidationError as error:
        problem = "; ".join(item["msg"] for item in error.errors())
        kind = getattr(annotation, "__name__", str(annotation))
        raise ExecutorOptionError(
            f"option {name!r} of {cls.__name__} is {text}, expected {kind}: {problem}; "
            f"valid options: {', '.join(_options(cls))}"
        ) from None


@cache
def _options(cls: type) -> dict[str, Any]:
    """Return the options of an executor's class and their types."""
    hints = get_type_hints(vars(cls).get("__init__", object.__init__))
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(cls).parameters.values()
    return {item.name: hints.get(item.name, Any) for item in parameters if item.kind in kinds}


def _default(cls: type, name: str) -> Any:
    return inspect.signature(cls).parameters[name].default


def _is_secret(annotation: Any) -> bool:
    from pydantic import SecretBytes, SecretStr

    members = getattr(annotation, "__args__", (annotation,))
    return any(member in (SecretStr, SecretBytes) for member in members)


def _secret_variable(executor: str, option: str) -> str:
    return f"COVALENT_CORE_{executor}_{option}".upper()


# --- hooks -------------------------------------------------------------------------------------------------------


def check_hooks(executor: Any) -> None:
    """Compare the hooks of an executor with the hookspecs.

    Raises:
        ExecutorPluginError: A hook is unknown, takes an unknown argument, or is missing.
    """
    cls = type(executor)
    specs = {name: list(inspect.signature(spec).parameters) for name, spec in _marked(hookspecs, "spec").items()}
    found = _marked(executor, "impl")

    for name, method in found.items():
        if name not in specs:
            raise ExecutorPluginError(f"{cls.__name__}.{name} is not a hook; the hooks are: {', '.join(specs)}")

        for argument in inspect.signature(method).parameters:
            if argument not in specs[name]:
                raise ExecutorPluginError(
                    f"{cls.__name__}.{name} takes {argument!r}, which the hookspec does not have; "
                    f"it has: {', '.join(specs[name])}"
                )

    for name in hookspecs.REQUIRED:
        if name not in found:
            raise ExecutorPluginError(
                f"{cls.__name__} does not implement {name}({', '.join(specs[name])}); "
                f"every executor must, with a method marked @hookimpl"
            )


def _marked(holder: Any, mark: str) -> dict[str, Callable[..., Any]]:
    """Return the methods or functions of `holder` that bear the mark of our project, without touching properties."""
    names = dir(type(holder)) if mark == "impl" else vars(holder)
    routines = {name: inspect.getattr_static(holder, name) for name in names}
    return {
        name: getattr(holder, name)
        for name, routine in routines.items()
        if inspect.isroutine(routine) and hasattr(getattr(holder, name), f"covalent_core_{mark}")
    }


class BoundExecutor:
    """An executor whose hooks can be called, each by its name, and awaited whatever they are."""

    def __init__(self, executor: Any) -> None:
        check_hooks(executor)
        self.executor = executor
        self.name = type(executor).__name__
        self._hooks = PluginManager(hookspecs.PROJECT)
        self._hooks.add_hookspecs(hookspecs)
        self._hooks.register(executor)
        self._hooks.register(_Defaults())

    async def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook and return what it gives. A blocking one runs in a thread, which is waited for if interrupted."""
        caller = getattr(self._hooks.hook, hook)
        first = caller.get_hookimpls()[-1].function

        if inspect.iscoroutinefunction(first):
            return await caller(**arguments)

        # To leave a thread that only waits behind does no harm; any other could still be writing.
        return await to_thread.run_sync(partial(caller, **arguments), abandon_on_cancel=hook == "run")


class _Defaults:
    """What happens where an executor has no such hook."""

    @hookimpl(trylast=True)
    def pickle(self, job: Job) -> bytes | memoryview:
        return pack(job)

    @hookimpl(trylast=True)
    async def find(self) -> None:
        return None

    @hookimpl(trylast=True)
    async def release(self) -> None:
        return None

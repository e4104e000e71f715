"""The hooks of an executor: checked against the hookspecs, and called, whatever they are."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType
from typing import Any

from anyio import CapacityLimiter, to_thread
from pluggy import PluginManager

from covalent_core import _stops, hookspecs
from covalent_core._executors.bundle import pack
from covalent_core._model.job import Job, Perhaps
from covalent_core.errors import ExecutorPluginError
from covalent_core.hookspecs import hookimpl

#: How many blocking hooks of one executor are called at once: those that wait for jobs to end, those that end jobs or
#: look for them, and the others. None of them ever waits for a thread that another kind has, or the core itself.
RUN_THREADS, END_THREADS, STEP_THREADS = 1000, 40, 40
ENDING = ("cancel", "cancel_members", "find", "release")

#: What a hook may give.
TEXT = (str,)
BYTES = (bytes, memoryview)
RESULTS = (str, os.PathLike, Mapping)
FOUND = (str, Perhaps)


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


#: The hooks of all executors that have been bound, as users write them, by their code.
_hooks_by_code: dict[CodeType, str] = {}


def hook_of(code: CodeType) -> str | None:
    """Return the hook that has this code, as ``Class.hook``."""
    return _hooks_by_code.get(code)


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
        self._callers = {name: getattr(self._hooks.hook, name) for name in _marked(hookspecs, "spec")}
        firsts = {name: caller.get_hookimpls()[-1].function for name, caller in self._callers.items()}
        own = {name: inspect.unwrap(method) for name, method in _marked(executor, "impl").items()}
        _hooks_by_code.update({method.__code__: f"{self.name}.{name}" for name, method in own.items()})
        self.cancels_members = "cancel_members" in _marked(executor, "impl")
        steps, ending = CapacityLimiter(STEP_THREADS), CapacityLimiter(END_THREADS)
        self._threads = {name: ending if name in ENDING else steps for name in self._callers}
        self._threads["run"] = CapacityLimiter(RUN_THREADS)
        self._is_async = {name: inspect.iscoroutinefunction(function) for name, function in firsts.items()}

    async def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook and return what it gives. A blocking one runs in a thread, which is waited for if interrupted."""
        if _stops.folder is None:
            return await self._call(hook, **arguments)

        return await _stops.watch(hook, partial(self._call, hook, **arguments), **arguments)

    async def _call(self, hook: str, **arguments: Any) -> Any:
        caller = self._callers[hook]

        if self._is_async[hook]:
            return await caller(**arguments)

        # To leave a thread that only waits behind does no harm; any other could still be writing.
        call = partial(caller, **arguments)
        return await to_thread.run_sync(call, abandon_on_cancel=hook == "run", limiter=self._threads[hook])


class _Defaults:
    """What happens where an executor has no such hook."""

    @hookimpl(trylast=True)
    def pickle(self, job: Job) -> bytes | memoryview:
        return pack(job)

    # Plain functions: pluggy also comes here where a plugin's own hook has returned None.
    @hookimpl(trylast=True)
    def find(self) -> None:
        return None

    @hookimpl(trylast=True)
    def cancel_members(self) -> None:
        return None

    @hookimpl(trylast=True)
    def release(self) -> None:
        return None


def checked(executor: BoundExecutor, hook: str, output: Any, expected: tuple[Any, ...]) -> Any:
    """Return what a hook gave if it is of an expected type and not empty."""
    if not expected or (isinstance(output, expected) and output):
        return output

    kinds = " or ".join(kind.__name__ for kind in expected)
    raise ExecutorPluginError(f"{executor.name}.{hook} returned {output!r}, expected {kinds}, not empty")

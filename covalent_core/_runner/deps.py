"""What a task needs before it runs and what follows it. Travels with the job, so it needs nothing but Python 3.8."""

from __future__ import annotations

import glob
import importlib.util
import inspect
import os
import shlex
import shutil
import subprocess
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from covalent_core._runner.task import make_folder, run_coroutine
from covalent_core.errors import DependencyError, GraphError


class DepsPip:
    """Packages that ``pip install`` puts into a folder of the task's own, found before everything else.

    Args:
        packages: What ``pip install`` takes: requirements, or files.
        options: Further arguments for it, such as ``["--index-url", "..."]``.
    """

    def __init__(self, packages: Sequence[str], options: Sequence[str] = ()) -> None:
        self.packages = _texts("deps_pip", packages)
        self.options = _texts("deps_pip", options)

    def install(self, folder: str) -> None:
        """Install the packages into `folder` and let them be imported from there.

        Raises:
            DependencyError: pip has failed; what it said is in the task's standard error.
        """
        _run("deps_pip", [*_pip(), "install", "--target", folder, *self.options, *self.packages])
        sys.path.insert(0, folder)
        importlib.invalidate_caches()


class DepsBash:
    """Shell commands that run before the task, each with ``bash -c``; the first that fails fails the task."""

    def __init__(self, commands: Sequence[str]) -> None:
        self.commands = _texts("deps_bash", commands)

    def run(self) -> None:
        """Run the commands.

        Raises:
            DependencyError: One has failed; what it said is in the task's standard error.
        """
        for command in self.commands:
            _run("deps_bash", ["bash", "-c", command])


class DepsCall:
    """A function that is called before or after the task, in its process.

    Args:
        retval_keyword: Of a call before the task: the keyword argument as which the task is given what it returns; a
            list of that where several calls have the same.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
        *,
        retval_keyword: str = "",
    ) -> None:
        if not callable(func):
            raise GraphError(f"DepsCall takes a function, not {func!r}")

        self.func, self.args, self.kwargs = func, list(args), dict(kwargs or {})
        self.retval_keyword = retval_keyword

    def call(self) -> Any:
        """Call the function; return what it gives."""
        return self.func(*self.args, **self.kwargs)


class Deps:
    """All that goes with a task, in the order in which it happens: bash, pip, calls before, the task, calls after."""

    def __init__(
        self, deps_pip: Any = None, deps_bash: Any = None, call_before: Any = (), call_after: Any = ()
    ) -> None:
        self.bash = deps_bash if isinstance(deps_bash, DepsBash) or deps_bash is None else DepsBash(deps_bash)
        self.pip = deps_pip if isinstance(deps_pip, DepsPip) or deps_pip is None else DepsPip(deps_pip)
        self.before, self.after = _calls("call_before", call_before), _calls("call_after", call_after)

    def __bool__(self) -> bool:
        return bool(self.bash or self.pip or self.before or self.after)

    def or_else(self, others: Deps) -> Deps:
        """Return these, with those of the others of whose kind there is none."""
        if not others:
            return self

        return Deps(
            self.pip or others.pip, self.bash or others.bash, self.before or others.before, self.after or others.after
        )

    @property
    def options(self) -> Dict[str, Any]:
        """What the core has to know of a task with these."""
        # What is installed for it may be another version of what has been imported before.
        return {"fresh": True} if self.pip is not None else {}

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function with these, which is called like the function."""
        return Prepared(function, self) if self else function

    @property
    def keywords(self) -> List[str]:
        """The arguments that the task is given by calls before it."""
        return [call.retval_keyword for call in self.before if call.retval_keyword]


class Prepared:
    """A function with all that goes with it; called like the function."""

    def __init__(self, function: Callable[..., Any], deps: Deps) -> None:
        self._function = function
        self._deps = deps

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        deps, folder = self._deps, ""

        try:
            if deps.bash is not None:
                deps.bash.run()

            if deps.pip is not None:
                folder = make_folder("deps-pip")
                deps.pip.install(folder)

            given: Dict[str, List[Any]] = {}

            for call in deps.before:
                given.setdefault(call.retval_keyword, []).append(call.call())

            given.pop("", None)
            kwargs.update({name: values if len(values) > 1 else values[0] for name, values in given.items()})
            return self._finish(self._function(*args, **kwargs))
        finally:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = run_coroutine(value)

        for call in self._deps.after:
            call.call()

        return value


def _pip() -> List[str]:
    """Return the command of pip: the installed one, or that which Python brings for environments without one."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]

    try:
        import ensurepip
    except ImportError:
        raise DependencyError(f"deps_pip: {sys.executable} has neither pip nor ensurepip; install pip there") from None

    wheels = sorted(glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl")))

    if not wheels:
        raise DependencyError(f"deps_pip: {sys.executable} has no pip; install it there")

    return [sys.executable, os.path.join(wheels[-1], "pip")]


def _run(what: str, command: List[str]) -> None:
    sys.stdout.flush()
    status = subprocess.run(command).returncode

    if status != 0:
        words = " ".join(map(shlex.quote, command[2:] if what == "deps_bash" else command[1:]))
        raise DependencyError(f"{what}: {words} ended with exit code {status}; what it said is in stdout and stderr")


def _texts(what: str, value: Any) -> Tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else (value,)

    for text in texts:
        if not isinstance(text, str):
            raise GraphError(f"{what} is {value!r}, expected a text or a list of texts")

    return texts


def _calls(what: str, value: Any) -> List[DepsCall]:
    calls = list(value) if isinstance(value, (list, tuple)) else [value]

    for call in calls:
        if not isinstance(call, DepsCall) and not callable(call):
            raise GraphError(f"{what} is {value!r}, expected a function, a DepsCall or a list of them")

    return [call if isinstance(call, DepsCall) else DepsCall(call) for call in calls]

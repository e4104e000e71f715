"""Options that users know from other engines: each gets one sentence, whichever way it came."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from covalent_core.errors import ExecutorOptionError

C = TypeVar("C", bound=type)

#: The attribute of a class that has what `options` was told.
TABLE = "__covalent_foreign_options__"


@dataclass(frozen=True)
class Foreign:
    """The options of other engines that an executor's class has something to say about."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    retired: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)


def options(
    *,
    renamed: Mapping[str, str] | None = None,
    retired: Mapping[str, str] | None = None,
    ignored: Mapping[str, str] | None = None,
) -> Callable[[C], C]:
    """Say for a class of executors what has become of options that users bring along; stands above ``@dataclass``.

    It makes no difference whether an option is a keyword of the class, stands in the configuration, or comes out of the
    store. An option that nobody knows raises `ExecutorOptionError` too, with those that there are.

    Args:
        renamed: The name that an option has here, by its old one. To use the old one raises `ExecutorOptionError`.
        retired: What to do instead, in a sentence that follows the name of the option. To use it raises
            `ExecutorOptionError`.
        ignored: Why an option has no effect, in a sentence that follows its name. It is left out, with a UserWarning.
    """
    table = Foreign(renamed or {}, retired or {}, ignored or {})

    def decorate(cls: C) -> C:
        init = cls.__init__  # type: ignore[misc]

        @wraps(init)
        def checked(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **accepted(cls, kwargs))

        cls.__init__ = checked  # type: ignore[misc]
        setattr(cls, TABLE, table)
        return cls

    return decorate


def accepted(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a class of executors takes, without those that it ignores.

    Raises:
        ExecutorOptionError: One is called otherwise, has no place here, or is not known.
    """
    table: Foreign = getattr(cls, TABLE, Foreign())
    valid = [name for name in inspect.signature(cls).parameters if name not in table.ignored]

    for name in given:
        if name in table.ignored:
            warnings.warn(f"{cls.__name__}: {name} {table.ignored[name]}", stacklevel=3)
        elif name not in valid:
            raise ExecutorOptionError(_refusal(cls, table, name, valid))

    return {name: value for name, value in given.items() if name not in table.ignored}


def _refusal(cls: type, table: Foreign, name: str, valid: list[str]) -> str:
    if name in table.renamed:
        return f"{cls.__name__} has no option {name!r}; here it is called {table.renamed[name]!r}"

    if name in table.retired:
        return f"{cls.__name__}: {name} {table.retired[name]}"

    return f"{cls.__name__} has no option {name!r}; valid options: {', '.join(valid)}"

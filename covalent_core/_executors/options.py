"""The options of an executor: what its class takes, as JSON and back, and what must never be stored."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_type_hints

from covalent_core._home import read_configuration
from covalent_core._model.task_options import check_executor_options
from covalent_core.backend.foreign import accepted
from covalent_core.errors import ExecutorOptionError, ExecutorPluginError


def options_of(cls: type, executor: str) -> dict[str, Any]:
    """Return the options that the configuration has for an executor, without its secrets.

    Raises:
        ExecutorOptionError: The configuration cannot be read.
    """
    types = _types(cls)
    return {name: value for name, value in _configured(executor).items() if not is_secret(types.get(name))}


def dump_options(executor_name: str, executor: Any) -> str:
    """Return the options of an executor as JSON, keys sorted.

    Raises:
        ExecutorOptionError: One is mistyped, does not fit, cannot be stored, or is a secret.
        ExecutorPluginError: Its class does not keep an option as an attribute.
    """
    cls: type = type(executor)
    dumped: dict[str, Any] = {}

    for name, annotation in _types(cls).items():
        if not hasattr(executor, name):
            raise ExecutorPluginError(f"{cls.__name__} takes the option {name!r} but keeps no attribute of that name")

        value = getattr(executor, name)

        if is_secret(annotation):
            _refuse_secret(executor_name, cls, name, value)
        else:
            dumped[name] = json.loads(_dump(cls, name, annotation, value))

    check_executor_options(cls.__name__, dumped)
    return json.dumps(dumped, sort_keys=True)


def load_options(cls: type, executor: str, dumped: str) -> dict[str, Any]:
    """Return the options behind `dumped`, with the secrets that the configuration or the environment has."""
    options: dict[str, Any] = json.loads(dumped)

    for name, annotation in _types(cls).items():
        if is_secret(annotation):
            secret = os.environ.get(_variable(executor, name), _configured(executor).get(name))
            options.update({} if secret is None else {name: secret})

    return options


def create_from(cls: type, options: dict[str, Any]) -> Any:
    """Return an executor with these options.

    Raises:
        ExecutorOptionError: One is unknown or mistyped, or does not fit.
    """
    valid = _types(cls)
    arguments = {}

    for name, value in accepted(cls, options).items():
        arguments[name] = _load(cls, name, valid[name], json.dumps(value, default=str))

    check_executor_options(cls.__name__, arguments)

    try:
        return cls(**arguments)
    except TypeError as error:
        raise ExecutorOptionError(f"{cls.__name__} cannot be created: {error}") from error


def is_secret(annotation: Any) -> bool:
    """Whether an option of this type is, or may hold, a secret."""
    from pydantic import SecretBytes, SecretStr

    return annotation in (SecretStr, SecretBytes) or any(map(is_secret, get_args(annotation)))


def _configured(executor: str) -> dict[str, Any]:
    tables = read_configuration().get("executors", {})
    table = tables.get(executor, {}) if isinstance(tables, dict) else tables

    if not isinstance(table, dict):
        raise ExecutorOptionError(
            f"[executors.{executor}] in the configuration is {table!r}, expected a table of options"
        )

    return table


def _dump(cls: type, name: str, annotation: Any, value: Any) -> str:
    from pydantic_core import to_json

    if isinstance(value, Iterator):
        raise ExecutorOptionError(
            f"option {name!r} of {cls.__name__} is {value!r}, which cannot be stored: it can be read once only"
        )

    try:
        # As constants: JSON of its own accord has no infinity.
        text = to_json(value, inf_nan_mode="constants").decode()
    except Exception as error:
        message = f"option {name!r} of {cls.__name__} is {value!r}, which cannot be stored: {error}"
        raise ExecutorOptionError(message) from error

    _load(cls, name, annotation, text)
    return text


def _load(cls: type, name: str, annotation: Any, text: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(annotation).validate_json(text)
    except ValidationError as error:
        problem = "; ".join(item["msg"] for item in error.errors())
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
        shown = "a secret" if is_secret(annotation) else text
        raise ExecutorOptionError(
            f"option {name!r} of {cls.__name__} is {shown}, expected {kind}: {problem}; "
            f"valid options: {', '.join(_types(cls))}"
        ) from None


def _refuse_secret(executor: str, cls: type, name: str, value: Any) -> None:
    if value is None or value == _default(cls, name):
        return

    raise ExecutorOptionError(
        f"option {name!r} of {cls.__name__} is a secret, which is never stored; leave it out here and put it under "
        f"[executors.{executor}] in the configuration, or in the environment variable "
        f"{_variable(executor, name)} of the dispatcher"
    )


@cache
def _types(cls: type) -> dict[str, Any]:
    """Return the names of the options of an executor's class and their types."""
    (init, *_) = (vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
    hints = get_type_hints(init)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(cls).parameters.values()
    return {item.name: hints.get(item.name, Any) for item in parameters if item.kind in kinds}


def _default(cls: type, name: str) -> Any:
    field = getattr(cls, "__dataclass_fields__", {}).get(name)

    if field is not None and callable(field.default_factory):
        return field.default_factory()

    return inspect.signature(cls).parameters[name].default


def _variable(executor: str, option: str) -> str:
    return re.sub(r"\W", "_", f"COVALENT_CORE_{executor}_{option}").upper()

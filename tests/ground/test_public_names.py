"""The names that users may rely on, and what importing them costs."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import covalent_core as ct
from covalent_core import errors

HEAVY = ["sqlmodel", "pydantic", "anyio", "pluggy", "rich", "cloudpickle"]


def tree_of(docstring: str) -> dict[str, str | None]:
    """Return the parent of each error that the tree in a docstring shows, by the depth at which it stands."""
    parents: dict[str, str | None] = {}
    path: list[str] = []

    for line in docstring.splitlines():
        branch = line.removeprefix("    ")
        name = branch.lstrip("│├└─ ").partition(" ")[0]

        if line.startswith("    ") and name.isidentifier():
            depth = (len(branch) - len(branch.lstrip("│├└─ "))) // 4
            path[depth:] = [name]
            parents[name] = path[depth - 1] if depth else None

    return parents


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("name", ct.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    scope: dict[str, object] = {}
    exec(f"from covalent_core import {name}", scope)

    assert scope[name] is getattr(ct, name)


def test_star_import_gives_all_of_them() -> None:
    scope: dict[str, object] = {}
    exec("from covalent_core import *", scope)

    assert set(ct.__all__) <= set(scope)


def test_public_names_are_sorted_and_have_a_home_each() -> None:
    assert ct.__all__ == sorted(ct.__all__)
    assert set(ct.__all__) == set(ct._HOMES) | {"executor"}
    assert len(ct.__all__) == len(set(ct.__all__))


def test_type_checkers_see_the_same_names() -> None:
    module = ast.parse(Path(str(ct.__file__)).read_text())
    (block,) = (node for node in module.body if isinstance(node, ast.If))
    seen = {name.asname or name.name for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}

    assert seen == set(ct.__all__)


def test_dir_shows_what_there_is() -> None:
    assert set(dir(ct)) == {*ct.__all__, "__version__", "errors", "hookspecs"}
    assert all(hasattr(ct, name) for name in dir(ct))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError) as caught:
        ct.dispatsch  # noqa: B018

    assert str(caught.value) == "module 'covalent_core' has no attribute 'dispatsch'"


def test_tree_of_errors_is_the_one_in_the_docstring() -> None:
    assert errors.__doc__ is not None
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    ours = {
        name: [base.__name__ for base in value.__bases__ if base in classes.values()] for name, value in classes.items()
    }

    assert {name: [parent] if parent else [] for name, parent in tree_of(errors.__doc__).items()} == ours
    assert all(issubclass(value, errors.CovalentError) for value in classes.values())


def test_timeout_of_a_result_is_a_timeout() -> None:
    assert issubclass(errors.ResultTimeoutError, TimeoutError)


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (
            errors.TaskRuntimeError("text", dispatch_id="d", node_id=3, step="upload", stderr="oh"),
            {"dispatch_id": "d", "node_id": 3, "step": "upload", "stderr": "oh"},
        ),
        (
            errors.TaskCancelledError("too slow", dispatch_id="d", node_id=0),
            {"dispatch_id": "d", "node_id": 0, "reason": "too slow"},
        ),
        (errors.TaskCancelledError(), {"dispatch_id": None, "node_id": None, "reason": "Cancelled by user"}),
    ],
    ids=["failed", "cancelled", "cancelled by nobody"],
)
def test_errors_of_tasks_survive_pickling(error: errors.TaskError, attributes: dict[str, object]) -> None:
    opened = pickle.loads(pickle.dumps(error))

    assert type(opened) is type(error)
    assert vars(opened) == vars(error) == attributes
    assert str(opened) == str(error)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, covalent_core; print([name for name in {HEAVY} if name in sys.modules])"

    assert run(code) == "[]"


def test_what_a_task_needs_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from covalent_core import CovalentError, TaskCancelledError, Task, checkpoint, current_task\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    assert run(code) == "[]"


def test_name_that_cannot_be_loaded_in_a_task_says_so() -> None:
    # The runner's bundle has of this package only what `_bundle.TRAVELLERS` names; missing modules look like this.
    code = (
        "import sys, covalent_core\n"
        "sys.modules['covalent_core._client.api'] = None\n"
        "try:\n"
        "    covalent_core.dispatch\n"
        "except ImportError as error:\n"
        "    print(error)"
    )

    assert run(code) == (
        "covalent_core.dispatch is not available here "
        "(import of covalent_core._client.api halted; None in sys.modules); inside a task on a machine where "
        "covalent-core is not installed only checkpoint, current_task, shield and the errors are; install "
        "covalent-core there to use more"
    )


def test_package_is_typed() -> None:
    assert resources.files("covalent_core").joinpath("py.typed").is_file()

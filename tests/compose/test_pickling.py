"""What users write opens where nothing of theirs is installed, and what is installed goes by reference."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import cloudpickle
import numpy as np
import pytest

import covalent_core as ct
from covalent_core._compose import pickling
from covalent_core._compose.pickling import dumps, loads, own_modules_by_value
from covalent_core._compose.signature import digest
from covalent_core._executors.bundle import TRAVELLERS

HELPERS = """
FACTOR = 3

class Unit:
    def __init__(self, value):
        self.value = value

def double(x):
    return x + x

def scaled(x):
    return Unit(double(x) * FACTOR).value
"""

#: Reads a pickle from standard input as the far side does; what it evaluates sees the opened object as `it`.
FAR_SIDE = """
import io, pickle, sys

class Unpickler(pickle.Unpickler):
    def persistent_load(self, pid):
        return outputs[pid]

outputs = {outputs!r}
it = Unpickler(io.BytesIO(sys.stdin.buffer.read())).load()
print(repr(({expression})))
"""


class FarSide:
    """An interpreter that has cloudpickle and what of ours travels with every job, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        library = folder / "library"
        library.mkdir(parents=True)
        (library / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)

        for name in TRAVELLERS:
            file = library / "covalent_core" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to(Path(ct.__file__).parent / name)

        self.environment = {"PYTHONPATH": str(library), "PATH": os.environ["PATH"]}

    def run(self, code: str, data: bytes = b"") -> tuple[str, str]:
        """Run code; return what it wrote and the last line of its error."""
        command = [sys.executable, "-S", "-c", code]
        done = subprocess.run(command, input=data, capture_output=True, env=self.environment, cwd=self.folder)
        assert (done.returncode == 0) == (not done.stderr), done.stderr.decode()
        return done.stdout.decode().strip(), (done.stderr.decode().strip().splitlines() or [""])[-1]

    def open(self, data: bytes, expression: str, outputs: dict[int, Any] | None = None) -> Any:
        """Open a pickle there and return the text of an expression, or raise with the error's last line."""
        shown, error = self.run(FAR_SIDE.format(outputs=outputs or {}, expression=expression), data)

        if error:
            raise AssertionError(error)

        return shown


@pytest.fixture
def far_side(tmp_path: Path) -> FarSide:
    return FarSide(tmp_path / "far")


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """A function that writes a module into a folder of the path and imports it, until the test ends."""
    names = []

    def write_and_import(name: str, folder: Path) -> ModuleType:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(HELPERS)
        monkeypatch.syspath_prepend(str(folder))
        names.append(name)
        return importlib.import_module(name)

    yield write_and_import

    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def helpers(tmp_path: Path, imported: Callable[..., ModuleType]) -> ModuleType:
    """A module of the user's, beside the script."""
    return imported("helpers_of_user", tmp_path / "beside")


@pytest.fixture
def _fresh_caches() -> Iterator[None]:
    def clear() -> None:
        pickling._is_own_file.cache_clear()
        pickling._editable_installations.cache_clear()

    clear()
    yield
    clear()


def no_reference(obj: Any) -> None:
    return None


def by_value(value: Any) -> bytes:
    with own_modules_by_value():
        return dumps(value, no_reference)


def by_reference(value: Any) -> bool:
    """Return whether a function goes by reference while own modules go by value: then it opens as itself."""
    return loads(by_value(value), no_reference) is value


# --- the far side itself -----------------------------------------------------------------------------------------


def test_far_side_has_what_travels_and_nothing_of_the_user(far_side: FarSide, helpers: ModuleType) -> None:
    for name in ("cloudpickle", "covalent_core"):
        assert far_side.run(f"import {name}; print({name}.__name__)") == (name, "")

    for name in ("covalent_core._compose", "numpy", "anyio", helpers.__name__):
        assert far_side.run(f"import {name}") == ("", f"ModuleNotFoundError: No module named '{name}'")


# --- modules of the user -----------------------------------------------------------------------------------------


def test_function_of_a_module_beside_the_script_opens_elsewhere(far_side: FarSide, helpers: ModuleType) -> None:
    assert far_side.open(by_value(helpers.scaled), "it(7)") == "42"


def test_class_of_a_module_beside_the_script_opens_elsewhere(far_side: FarSide, helpers: ModuleType) -> None:
    assert far_side.open(by_value([helpers.Unit(5)]), "it[0].value, type(it[0]).__name__") == "(5, 'Unit')"


def test_without_it_the_function_is_only_named(far_side: FarSide, helpers: ModuleType) -> None:
    with pytest.raises(AssertionError, match="ModuleNotFoundError: No module named 'helpers_of_user'"):
        far_side.open(cloudpickle.dumps(helpers.scaled), "it(7)")


def test_electron_of_a_lattice_may_use_a_module_beside_the_script(far_side: FarSide, helpers: ModuleType) -> None:
    @ct.electron
    def task(x: int) -> Any:
        return helpers_scaled(x) + 1

    helpers_scaled = helpers.scaled
    graph = ct.Lattice(lambda: task(7)).build_graph()

    assert far_side.open(graph.functions[0], "it(7)") == "43"


def test_registry_is_as_before_afterwards(helpers: ModuleType) -> None:
    before = cloudpickle.list_registry_pickle_by_value()

    with own_modules_by_value():
        assert helpers.__name__ in cloudpickle.list_registry_pickle_by_value()

    assert cloudpickle.list_registry_pickle_by_value() == before


def test_registry_is_as_before_after_an_error(helpers: ModuleType) -> None:
    before = cloudpickle.list_registry_pickle_by_value()

    with pytest.raises(KeyError), own_modules_by_value():
        raise KeyError

    assert cloudpickle.list_registry_pickle_by_value() == before


def test_module_that_the_user_registered_stays_registered(helpers: ModuleType) -> None:
    cloudpickle.register_pickle_by_value(helpers)

    try:
        with own_modules_by_value():
            pass

        assert helpers.__name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(helpers)


def test_a_module_that_takes_the_place_of_another_is_seen(tmp_path: Path) -> None:
    for number in range(200):
        module = ModuleType(f"replaced_{number}")
        module.__file__ = str(tmp_path / f"{module.__name__}.py")
        sys.modules[module.__name__] = module
        # Sooner or later at the address of the one before.
        sys.modules["newest"] = ModuleType("newest")

        try:
            with own_modules_by_value():
                assert module.__name__ in cloudpickle.list_registry_pickle_by_value()
        finally:
            del sys.modules[module.__name__], sys.modules["newest"]


def test_nested_use_goes_on_outside(far_side: FarSide, helpers: ModuleType) -> None:
    with own_modules_by_value():
        with own_modules_by_value():
            pass

        data = dumps(helpers.scaled, no_reference)

    assert far_side.open(data, "it(7)") == "42"


def test_two_threads_may_use_it_at_once(helpers: ModuleType) -> None:
    second_wants_it, second_has_it = threading.Event(), threading.Event()

    def use() -> None:
        second_wants_it.set()

        with own_modules_by_value():
            assert helpers.__name__ in cloudpickle.list_registry_pickle_by_value()
            second_has_it.set()

    with own_modules_by_value():
        thread = threading.Thread(target=use)
        thread.start()
        assert second_wants_it.wait(10)
        assert not second_has_it.is_set()
        assert helpers.__name__ in cloudpickle.list_registry_pickle_by_value()

    thread.join(10)
    assert second_has_it.is_set()
    assert helpers.__name__ not in cloudpickle.list_registry_pickle_by_value()


def test_module_with_two_names(helpers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alias_of_helpers", helpers)

    try:
        with own_modules_by_value():
            assert helpers.__name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        # What the first failure left behind.
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", None) in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.unregister_pickle_by_value(module)


def test_module_under_another_name_than_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "loaded.py"
    file.write_text(HELPERS)
    spec = importlib.util.spec_from_file_location("name_of_its_own", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "another_name", module)
    before = cloudpickle.list_registry_pickle_by_value()

    try:
        with own_modules_by_value():
            pass
    finally:
        for other in list(sys.modules.values()):
            name = getattr(other, "__name__", None)

            if name in cloudpickle.list_registry_pickle_by_value() - before:
                cloudpickle.unregister_pickle_by_value(other)


def test_module_that_the_lattice_imports(far_side: FarSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_helpers.py").write_text(HELPERS)
    monkeypatch.syspath_prepend(str(tmp_path))

    @ct.lattice
    def workflow() -> Any:
        scaled = importlib.import_module("late_helpers").scaled
        return ct.electron(scaled)(7)

    try:
        graph = workflow.build_graph()
    finally:
        sys.modules.pop("late_helpers", None)

    assert far_side.open(graph.functions[0], "it(7)") == "42"


def test_where_a_function_stands_makes_no_other_one_of_it(tmp_path: Path) -> None:
    def signature_of(comment: str, value: int) -> str:
        script = str(tmp_path / f"script-{len(comment)}.py")
        body = [f"    {comment}", "    def inner():", f"        return {value}", "    return inner"]
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile("\n".join([comment, "def function():", *body]), script, "exec"), names)
        return digest(dumps(names["function"], no_reference, is_code=True))

    assert signature_of("# one", 1) == signature_of("# another\n# and another", 1)
    assert signature_of("# one", 1) != signature_of("# one", 2)


def test_the_script_itself_as_a_module_is_only_named() -> None:
    assert by_reference(sys.modules["__main__"])


@pytest.mark.parametrize("body", ["raise ImportError('no such device')", "import sys; sys.exit(3)"])
def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    (tmp_path / "for_the_far_side.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))

    def function() -> None:
        import for_the_far_side  # noqa: F401

    with pytest.warns(
        UserWarning, match=r"module 'for_the_far_side', which is imported in the body .* does not travel"
    ):
        by_value(function)


# --- what is installed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [np.printoptions, np.poly1d.deriv, anyio.run, json.dumps, os.path.join, ct.electron, np.mean],
    ids=lambda function: f"{function.__module__}.{function.__name__}",
)
def test_functions_of_installed_packages_go_by_reference(function: Callable[..., Any]) -> None:
    assert by_reference(function)


def test_installed_packages_are_not_registered(helpers: ModuleType) -> None:
    with own_modules_by_value():
        registered = {name.partition(".")[0] for name in cloudpickle.list_registry_pickle_by_value()}

    assert helpers.__name__ in registered
    assert not registered & {"numpy", "anyio", "pytest", "_pytest", "json", "os", "cloudpickle", "covalent_core"}


def installed_editable(
    name: str, site: Path, project: Path, url: str, *, editable: bool = True, top_level: str | None = None
) -> None:
    information = site / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": editable}}))

    if top_level is not None:
        (information / "top_level.txt").write_text(top_level)

    project.mkdir(parents=True, exist_ok=True)


@pytest.mark.usefixtures("_fresh_caches")
@pytest.mark.parametrize(
    ("distribution", "module", "top_level"),
    [
        ("demo-tool", "demo_tool", None),
        ("Demo-Tool", "demo_tool", None),
        ("demo-tool", "demo_other", "demo_other\n_demo_native\n"),
    ],
    ids=["its name", "its name in capitals", "top_level.txt"],
)
def test_editable_package_goes_by_reference(
    distribution: str,
    module: str,
    top_level: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    imported: Callable[..., ModuleType],
) -> None:
    site, project = tmp_path / "site", tmp_path / "my project"
    installed_editable(distribution, site, project, project.as_uri(), top_level=top_level)
    monkeypatch.syspath_prepend(str(site))

    package = imported(module, project)

    assert by_reference(package.scaled)


@pytest.mark.usefixtures("_fresh_caches")
def test_script_beside_an_editable_package_goes_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: Callable[..., ModuleType], far_side: FarSide
) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    installed_editable("demo-tool", site, project, project.as_uri())
    monkeypatch.syspath_prepend(str(site))

    script = imported("demo_script", project)

    assert not by_reference(script.scaled)
    assert far_side.open(by_value(script.scaled), "it(7)") == "42"


@pytest.mark.usefixtures("_fresh_caches")
def test_package_of_the_same_name_elsewhere_goes_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: Callable[..., ModuleType]
) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    installed_editable("demo-tool", site, project, project.as_uri())
    monkeypatch.syspath_prepend(str(site))

    package = imported("demo_tool", tmp_path / "project-2")

    assert not by_reference(package.scaled)


@pytest.mark.usefixtures("_fresh_caches")
def test_folder_that_was_installed_without_editable_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: Callable[..., ModuleType]
) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    installed_editable("demo-tool", site, project, project.as_uri(), editable=False)
    monkeypatch.syspath_prepend(str(site))

    package = imported("demo_tool", project)

    assert not by_reference(package.scaled)


@pytest.mark.usefixtures("_fresh_caches")
def test_package_that_is_installed_in_a_folder_of_the_path_goes_by_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: Callable[..., ModuleType]
) -> None:
    site = tmp_path / "software" / "demo" / "lib" / "python3.11" / "site-packages"
    information = site / "demo_tool-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-tool\nVersion: 1.0\n")
    (information / "RECORD").write_text("demo_tool.py,,\ndemo_tool-1.0.dist-info/METADATA,,\n")

    package = imported("demo_tool", site)

    assert by_reference(package.scaled)


# --- scripts -----------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import covalent_core as ct
import helpers_of_script

LIMIT = 1

@ct.electron
def half(n):
    return n // 2

@ct.electron(executor="local")
def steps(n):
    return 0 if n <= LIMIT else 1 + steps(half(helpers_of_script.same(n)))

@ct.electron
def even(n):
    return n == 0 or odd(n - 1)

@ct.electron
def odd(n):
    return n != 0 and even(n - 1)

@ct.lattice
def workflow():
    return steps(1024), even([half(20)])

graph = workflow.build_graph()
node = next(node for node in graph.nodes if node.name == sys.argv[1])
sys.stdout.buffer.write(graph.functions[node.function] if sys.argv[2] == "function" else node.call)
"""


def from_script(tmp_path: Path, *arguments: str) -> bytes:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "helpers_of_script.py").write_text("def same(x):\n    return x\n")
    environment = {**os.environ, "COVALENT_CORE_CONFIG": str(tmp_path / "config.toml")}
    command = [sys.executable, str(tmp_path / "script.py"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout


def test_electron_that_calls_itself_and_another_opens_elsewhere(tmp_path: Path, far_side: FarSide) -> None:
    data = from_script(tmp_path, "steps", "function")

    assert far_side.open(data, "it(1024), type(it).__name__") == "(10, 'function')"
    assert b"covalent_core._compose" not in data


def test_electrons_that_call_each_other_open_elsewhere(tmp_path: Path, far_side: FarSide) -> None:
    data = from_script(tmp_path, "even", "function")

    assert far_side.open(data, "it(10), it(7)") == "(True, False)"
    assert b"covalent_core._compose" not in data


def test_call_opens_elsewhere_with_the_outputs_it_names(tmp_path: Path, far_side: FarSide) -> None:
    data = from_script(tmp_path, "even", "call")

    # The persistent id is a place among the sources of the call, whatever number `half` has in the graph.
    assert far_side.open(data, "it", {0: "output of half"}) == "((['output of half'],), {})"


# --- references --------------------------------------------------------------------------------------------------


def test_references_are_asked_for_every_object_and_resolved() -> None:
    class Marked:
        def __init__(self, number: int) -> None:
            self.number = number

    data = dumps({"a": [Marked(1), (Marked(2), 0)]}, lambda obj: obj.number if type(obj) is Marked else None)

    assert loads(data, {1: "one", 2: "two"}.__getitem__) == {"a": ["one", ("two", 0)]}


def test_reference_zero_is_a_reference() -> None:
    mark = object()

    assert loads(dumps([mark], lambda obj: 0 if obj is mark else None), {0: "zero"}.__getitem__) == ["zero"]


def test_equal_objects_stay_one_object() -> None:
    shared = ["shared"]
    first, second = loads(dumps((shared, shared), no_reference), no_reference)

    assert first is second

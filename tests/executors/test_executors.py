"""From what a user says about an executor to what the store keeps, and back to hooks that can be called."""

from __future__ import annotations

import importlib
import io
import json
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

import covalent_core as ct
from covalent_core import _cli, executor, hookspecs
from covalent_core._executors import bound, installed, options
from covalent_core._executors.bound import BoundExecutor, check_hooks
from covalent_core._executors.installed import create, describe
from covalent_core._local.executor import LocalExecutor
from covalent_core._model.graph import ExecutorSpec
from covalent_core._model.job import Job, TaskCall
from covalent_core.errors import ExecutorNotFoundError, ExecutorOptionError, ExecutorPluginError

PLUGIN = '''
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Dict, List, Optional

from pydantic import SecretStr

from covalent_core import hookimpl


class Hooks:
    @hookimpl
    async def upload(self): ...
    @hookimpl
    async def provision(self): ...
    @hookimpl
    async def run(self): ...
    @hookimpl
    async def fetch(self): ...
    @hookimpl
    async def cancel(self): ...


@dataclass
class ShelfExecutor(Hooks):
    slots: int = 2
    ratio: float = 0.5
    queue: str = "short"
    folder: Path = Path("/shelf")
    limit: timedelta = timedelta(minutes=5)
    environment: Dict[str, str] = field(default_factory=dict)
    account: Optional[str] = None
    modules: List[str] = field(default_factory=list)
    weights: "dict[int, float]" = field(default_factory=dict)


@dataclass
class VaultExecutor(Hooks):
    url: str = "https://vault"
    token: Optional[SecretStr] = None
    pin: SecretStr = SecretStr("")


@dataclass
class FactoryExecutor(Hooks):
    token: SecretStr = field(default_factory=lambda: SecretStr(""))


@dataclass
class NestedExecutor(Hooks):
    tokens: Optional[List[SecretStr]] = None


class InheritingExecutor(VaultExecutor):
    """Takes its options and their types from its base."""


class ForgetfulExecutor(Hooks):
    def __init__(self, queue: str = "short") -> None:
        self._queue = queue


class NeedyExecutor(Hooks):
    def __init__(self, queue: str) -> None:
        self.queue = queue


class BareExecutor:
    """Has no hook at all."""


@dataclass
class UnregisteredExecutor(Hooks):
    slots: int = 2
'''

ENTRY_POINTS = """
[covalent_core.executors]
shelf = x_executors:ShelfExecutor
vault = x_executors:VaultExecutor
cold-vault = x_executors:VaultExecutor
factory = x_executors:FactoryExecutor
nested = x_executors:NestedExecutor
inheriting = x_executors:InheritingExecutor
forgetful = x_executors:ForgetfulExecutor
needy = x_executors:NeedyExecutor
bare = x_executors:BareExecutor
broken = x_executors:NoSuchExecutor
"""

INSTALLED = "bare, broken, cold-vault, factory, forgetful, inheriting, local, needy, nested, shelf, vault"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a configuration of its own, which is not there until it is written."""
    file = tmp_path / "config.toml"
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(file))
    return file


@pytest.fixture(autouse=True)
def without_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the plugins of ours that a developer may have installed."""
    found = metadata.entry_points

    def others(**chosen: str) -> list[metadata.EntryPoint]:
        return [point for point in found(**chosen) if not (point.dist and point.dist.name.startswith("covalent-core-"))]

    monkeypatch.setattr(metadata, "entry_points", others)
    installed._entry_points.cache_clear()
    yield
    installed._entry_points.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Install a plugin with some executors."""
    site = tmp_path / "site"
    information = site / "x-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "x_executors.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(site))
    installed._entry_points.cache_clear()
    yield importlib.import_module("x_executors")
    installed._entry_points.cache_clear()
    sys.modules.pop("x_executors", None)


class Hooks:
    """The hooks that an executor must have."""

    @ct.hookimpl
    async def upload(self, job: Job, payload: bytes) -> str:
        return f"{job.ticket}: {len(payload)}"

    @ct.hookimpl
    async def provision(self) -> str:
        return "handle"

    @ct.hookimpl
    async def run(self) -> None: ...

    @ct.hookimpl
    async def fetch(self) -> str:
        return "folder"

    @ct.hookimpl
    async def cancel(self) -> None: ...


def job() -> Job:
    return Job("d-1", "t-1", 0, (TaskCall(0, "task", b"function", b"call"),))


def call(made: Any, hook: str, **arguments: Any) -> Any:
    return anyio.run(partial(BoundExecutor(made).call, hook, **arguments))


# --- values that the core reads -----------------------------------------------------------------------------------

NAN = float("nan")

UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"max_workers": 0}, "max_workers is 0, expected a whole number from 1 on"),
    ({"max_workers": -1}, "max_workers is -1, expected a whole number from 1 on"),
    ({"max_workers": True}, "max_workers is True, expected a whole number from 1 on"),
    ({"pack": -5}, "pack is -5, expected a whole number from 1 on, 'chain' or 'auto'"),
    ({"pack": NAN}, "pack is nan, expected a whole number from 1 on, 'chain' or 'auto'"),
    ({"grace": -1}, "grace is -1, expected a number of seconds, 0 or more"),
    ({"grace": NAN}, "grace is nan, expected a number of seconds, 0 or more"),
]


@pytest.mark.parametrize(("given", "problem"), UNFIT)
def test_a_value_that_does_not_fit_is_refused_where_the_executor_is_named(given: dict[str, Any], problem: str) -> None:
    for decorate in (ct.electron, ct.lattice):
        with pytest.raises(ExecutorOptionError) as caught:
            decorate(executor=LocalExecutor(**given))(abs)

        assert str(caught.value) == f"LocalExecutor: {problem}"


@pytest.mark.parametrize("given", [given for given, _ in UNFIT if True not in given.values()])
def test_a_value_that_was_changed_later_or_came_from_the_store_is_refused_too(given: dict[str, Any]) -> None:
    made = LocalExecutor()
    vars(made).update(given)

    for refuse in (lambda: describe(made), lambda: create(ExecutorSpec("local", json.dumps(given)))):
        with pytest.raises(ExecutorOptionError):
            refuse()


def test_the_configuration_is_checked_too(config: Path) -> None:
    config.write_text("[executors.local]\nmax_workers = 0\n")

    with pytest.raises(ExecutorOptionError, match="LocalExecutor: max_workers is 0, expected"):
        describe("local")


def test_no_option_of_any_executor_is_not_a_number(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError, match=r"^ShelfExecutor: ratio is nan, expected a number$"):
        describe(plugin.ShelfExecutor(ratio=NAN))


# --- names and classes -------------------------------------------------------------------------------------------


def test_unknown_name_says_what_is_installed(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorNotFoundError) as caught:
        describe("slrum")

    assert str(caught.value) == (
        f"no executor named 'slrum'; installed: {INSTALLED}; "
        f"a plugin brings one by an entry point in the group 'covalent_core.executors'"
    )


def test_unknown_name_of_a_spec_says_so_too() -> None:
    with pytest.raises(ExecutorNotFoundError, match="no executor named 'slrum'; installed: local; "):
        create(ExecutorSpec("slrum"))


def test_plugin_that_is_installed_later_is_found(request: pytest.FixtureRequest) -> None:
    assert "shelf" not in installed.installed()
    request.getfixturevalue("plugin")
    points = metadata.entry_points(group="covalent_core.executors")

    assert {point.name for point in points} == set(INSTALLED.split(", "))
    assert describe("shelf").name == "shelf"


def test_name_is_looked_for_again_if_it_was_not_there(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    site = sys.path.pop(sys.path.index(str(Path(plugin.__file__ or "").parent)))
    installed._entry_points.cache_clear()
    assert list(installed.installed()) == ["local"]
    sys.path.insert(0, site)

    assert installed.load_class("shelf") is plugin.ShelfExecutor


def test_plugin_that_cannot_be_imported_is_named(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorPluginError) as caught:
        describe("broken")

    assert str(caught.value) == (
        "executor 'broken' cannot be loaded: AttributeError(\"module 'x_executors' has no attribute "
        "'NoSuchExecutor'\"); repair x_executors or install what it imports; a dispatcher that began before that is "
        "ended with: covalent-core stop"
    )


def test_plugin_that_cannot_be_imported_is_shown_with_the_others(
    plugin: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    _cli.main(["executors"])
    shown = capsys.readouterr().out

    assert "ShelfExecutor" in shown
    assert "executor 'broken' cannot be loaded: AttributeError(" in " ".join(shown.split())


def test_class_that_is_not_registered_says_how_to_do_it(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorNotFoundError) as caught:
        describe(plugin.UnregisteredExecutor())

    assert str(caught.value) == (
        f"x_executors.UnregisteredExecutor is not an installed executor; installed: {INSTALLED}; add to the "
        f'pyproject.toml of its package [project.entry-points."covalent_core.executors"] with a line such as '
        f'unregistered = "x_executors:UnregisteredExecutor", and install it'
    )


def test_class_that_only_bears_the_name_of_an_installed_one_is_not_registered(plugin: ModuleType) -> None:
    class ShelfExecutor(Hooks):
        pass

    with pytest.raises(ExecutorNotFoundError, match="ShelfExecutor is not an installed executor"):
        describe(ShelfExecutor())


# --- ct.executor -------------------------------------------------------------------------------------------------


def test_executors_are_attributes_of_a_module(plugin: ModuleType) -> None:
    assert ct.executor.LocalExecutor is LocalExecutor
    assert ct.executor.ShelfExecutor is plugin.ShelfExecutor
    assert {"LocalExecutor", "ShelfExecutor"} <= set(dir(executor))


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("SlurmExecutor", "covalent-core-slurm"),
        ("SSHExecutor", "covalent-core-ssh"),
        ("AWSBatchExecutor", "covalent-core-awsbatch"),
        ("BraketExecutor", "covalent-core-braket"),
        ("DaskExecutor", "covalent-core-dask"),
    ],
)
def test_executor_of_a_plugin_of_ours_says_what_to_install(name: str, distribution: str) -> None:
    with pytest.raises(ExecutorNotFoundError) as caught:
        getattr(executor, name)

    assert str(caught.value) == (
        f"no executor class {name!r}; installed: LocalExecutor (local); pip install {distribution}"
    )


def test_executor_of_nobody_says_to_install_its_plugin() -> None:
    with pytest.raises(ExecutorNotFoundError) as caught:
        ct.executor.MyExecutor  # noqa: B018

    assert str(caught.value) == (
        "no executor class 'MyExecutor'; installed: LocalExecutor (local); install the plugin that brings it"
    )


def test_probes_of_the_module_are_attribute_errors() -> None:
    assert not hasattr(executor, "__wrapped__")
    assert not hasattr(executor, "_private")


# --- options -----------------------------------------------------------------------------------------------------

OPTIONS = {
    "slots": (7, 7),
    "ratio": (2.25, 2.25),
    "queue": ("lång", "lång"),
    "folder": (Path("/a b/c"), "/a b/c"),
    "limit": (timedelta(hours=1, seconds=1), "PT1H1S"),
    "environment": ({"A": "1", "B": ""}, {"A": "1", "B": ""}),
    "account": ("physics", "physics"),
    "modules": (["gcc", "openmpi"], ["gcc", "openmpi"]),
    "weights": ({1: 0.5, -2: 3.0}, {"1": 0.5, "-2": 3.0}),
}

DEFAULTS = {
    "account": None,
    "environment": {},
    "folder": "/shelf",
    "limit": "PT5M",
    "modules": [],
    "queue": "short",
    "ratio": 0.5,
    "slots": 2,
    "weights": {},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_option_goes_through_json_and_comes_back(name: str, plugin: ModuleType) -> None:
    value, stored = OPTIONS[name]
    made = plugin.ShelfExecutor(**{name: value})
    spec = describe(made)
    again = create(spec)

    assert spec.name == "shelf"
    assert json.loads(spec.options) == {**DEFAULTS, name: stored}
    assert again == made
    assert type(getattr(again, name)) is type(value)
    assert describe(again) == spec


def test_all_options_at_once(plugin: ModuleType) -> None:
    made = plugin.ShelfExecutor(**{name: value for name, (value, _) in OPTIONS.items()})

    assert create(describe(made)) == made


def test_equal_settings_are_equal_text(plugin: ModuleType) -> None:
    first = plugin.ShelfExecutor(environment={"A": "1", "B": "2"})
    second = plugin.ShelfExecutor(environment={"B": "2", "A": "1"})

    assert describe(first) == describe(second)
    assert list(json.loads(describe(first).options)) == sorted(DEFAULTS)


def test_name_without_configuration_has_the_defaults(plugin: ModuleType) -> None:
    assert json.loads(describe("shelf").options) == DEFAULTS


def test_name_takes_its_options_from_the_configuration(plugin: ModuleType, config: Path) -> None:
    config.write_text(
        "[executors.shelf]\n"
        'slots = 9\nratio = 1\nfolder = "/x"\nlimit = "PT2H"\naccount = "a"\nmodules = ["gcc"]\n'
        "[executors.shelf.environment]\n"
        'A = "1"\n'
        "[executors.local]\nmax_workers = 3\n"
    )
    changed = {
        "slots": 9,
        "ratio": 1.0,
        "folder": "/x",
        "limit": "PT2H",
        "account": "a",
        "modules": ["gcc"],
        "environment": {"A": "1"},
    }

    assert json.loads(describe("shelf").options) == {**DEFAULTS, **changed}
    assert json.loads(describe("local").options)["max_workers"] == 3


def test_instance_takes_nothing_from_the_configuration(plugin: ModuleType, config: Path) -> None:
    config.write_text("[executors.shelf]\nslots = 9\n")

    assert json.loads(describe(plugin.ShelfExecutor()).options) == DEFAULTS


def test_unknown_option_of_the_configuration_shows_the_valid_ones(plugin: ModuleType, config: Path) -> None:
    config.write_text("[executors.shelf]\nslotz = 9\n")

    with pytest.raises(ExecutorOptionError) as caught:
        describe("shelf")

    assert str(caught.value) == (
        "ShelfExecutor has no option 'slotz'; valid options: "
        "slots, ratio, queue, folder, limit, environment, account, modules, weights"
    )


def test_unknown_option_of_a_stored_spec_shows_the_valid_ones(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError, match="ShelfExecutor has no option 'old'; valid options: slots, "):
        create(ExecutorSpec("shelf", '{"old": 1}'))


def test_mistyped_option_of_the_configuration_says_what_was_expected(plugin: ModuleType, config: Path) -> None:
    config.write_text('[executors.shelf]\nslots = "many"\n')

    with pytest.raises(ExecutorOptionError) as caught:
        describe("shelf")

    assert str(caught.value) == (
        "option 'slots' of ShelfExecutor is \"many\", expected int: Input should be a valid integer, unable to parse "
        "string as an integer; valid options: "
        "slots, ratio, queue, folder, limit, environment, account, modules, weights"
    )


@pytest.mark.parametrize(
    ("name", "value", "beginning"),
    [
        ("slots", "many", "option 'slots' of ShelfExecutor is \"many\", expected int: "),
        ("slots", None, "option 'slots' of ShelfExecutor is null, expected int: "),
        ("limit", "soon", "option 'limit' of ShelfExecutor is \"soon\", expected timedelta: "),
        ("queue", 5, "option 'queue' of ShelfExecutor is 5, expected str: "),
        ("environment", ["A"], "option 'environment' of ShelfExecutor is "),
        ("account", 5, "option 'account' of ShelfExecutor is 5, expected "),
    ],
)
def test_mistyped_option_of_an_instance(name: str, value: Any, beginning: str, plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError) as caught:
        describe(plugin.ShelfExecutor(**{name: value}))

    assert str(caught.value).startswith(beginning)


def test_mistyped_option_names_the_whole_type(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError, match=r"expected (typing\.)?(Optional\[str\]|str \| None): "):
        describe(plugin.ShelfExecutor(account=5))


def test_option_that_can_be_read_once_only_is_refused(plugin: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (tmp_path / "file").open() as file, pytest.raises(ExecutorOptionError) as caught:
        describe(plugin.ShelfExecutor(queue=file))

    assert str(caught.value).startswith("option 'queue' of ShelfExecutor is <_io.TextIOWrapper name=")
    assert str(caught.value).endswith("which cannot be stored: it can be read once only")


def test_option_that_json_cannot_carry_is_refused(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError) as caught:
        describe(plugin.ShelfExecutor(queue=threading.Lock()))

    assert str(caught.value).startswith("option 'queue' of ShelfExecutor is <unlocked _thread.lock object at 0x")
    assert "which cannot be stored: " in str(caught.value)


def test_infinite_option_comes_back(plugin: ModuleType) -> None:
    assert create(describe(plugin.ShelfExecutor(ratio=float("inf")))).ratio == float("inf")


def test_option_without_an_attribute_is_the_plugins_fault(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorPluginError) as caught:
        describe(plugin.ForgetfulExecutor())

    assert str(caught.value) == "ForgetfulExecutor takes the option 'queue' but keeps no attribute of that name"


def test_option_that_is_missing_is_named(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError) as caught:
        describe("needy")

    assert str(caught.value) == (
        "NeedyExecutor cannot be created: NeedyExecutor.__init__() missing 1 required positional argument: 'queue'"
    )


def test_class_without_hooks_is_refused_when_it_is_described(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorPluginError, match="BareExecutor does not implement upload"):
        describe("bare")


def test_local_executor_comes_back() -> None:
    made = LocalExecutor(max_workers=3, workdir="/", environment={"A": "1"}, grace=0.5, python="/python")

    assert create(describe(made)) == made
    assert describe(made).name == "local"


# --- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["token", "pin"])
def test_secret_of_an_instance_is_refused(option: str, plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError) as caught:
        describe(plugin.VaultExecutor(**{option: SecretStr("hush")}))

    assert str(caught.value) == (
        f"option {option!r} of VaultExecutor is a secret, which is never stored; leave it out here and put it under "
        f"[executors.vault] in the configuration, or in the environment variable COVALENT_CORE_VAULT_{option.upper()} "
        f"of the dispatcher"
    )


def test_secret_that_is_only_the_default_is_left_out(plugin: ModuleType) -> None:
    assert describe(plugin.VaultExecutor(url="u")) == ExecutorSpec("vault", '{"url": "u"}')


def test_secret_of_the_configuration_is_not_stored_but_is_there_again(plugin: ModuleType, config: Path) -> None:
    config.write_text('[executors.vault]\nurl = "u"\ntoken = "hush"\n')
    spec = describe("vault")

    assert spec == ExecutorSpec("vault", '{"url": "u"}')
    assert create(spec) == plugin.VaultExecutor("u", SecretStr("hush"))


def test_secret_of_the_environment_comes_before_the_configuration(
    plugin: ModuleType, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('[executors.vault]\nurl = "not taken"\ntoken = "configured"\npin = "1234"\n')
    monkeypatch.setenv("COVALENT_CORE_VAULT_TOKEN", "hush")
    made = create(ExecutorSpec("vault", '{"url": "u"}'))

    assert made == plugin.VaultExecutor("u", SecretStr("hush"), SecretStr("1234"))


def test_secret_that_is_nowhere_has_its_default(plugin: ModuleType) -> None:
    assert create(ExecutorSpec("vault", "{}")) == plugin.VaultExecutor()


def test_secret_with_a_default_factory_may_be_left_out(plugin: ModuleType) -> None:
    assert describe("factory") == ExecutorSpec("factory", "{}")


def test_secret_in_an_optional_list_is_refused(plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError, match="is a secret, which is never stored"):
        describe(plugin.NestedExecutor(tokens=[SecretStr("hush")]))


@pytest.mark.parametrize("secret", ["hush", SecretStr("hush")], ids=["str", "SecretStr"])
def test_secret_of_an_inherited_init_is_refused(secret: Any, plugin: ModuleType) -> None:
    with pytest.raises(ExecutorOptionError, match="is a secret, which is never stored"):
        describe(plugin.InheritingExecutor(token=secret))


def test_mistyped_secret_is_not_shown(plugin: ModuleType, config: Path) -> None:
    config.write_text("[executors.vault]\npin = 271828\n")

    with pytest.raises(ExecutorOptionError) as caught:
        create(ExecutorSpec("vault", "{}"))

    assert "271828" not in str(caught.value)


def test_variable_of_a_secret_is_one_that_a_shell_can_set(plugin: ModuleType) -> None:
    assert options._variable("cold-vault", "token") == "COVALENT_CORE_COLD_VAULT_TOKEN"


def test_class_instead_of_an_instance_is_refused() -> None:
    with pytest.raises(ExecutorNotFoundError) as caught:
        describe(LocalExecutor)

    message = "executor= takes an instance or a name, not the class itself; write LocalExecutor(...)"
    assert str(caught.value) == message


# --- hooks that do not fit ---------------------------------------------------------------------------------------


def test_hook_of_an_unknown_name() -> None:
    class WrongExecutor(Hooks):
        @ct.hookimpl
        def provison(self) -> str:
            return "handle"

    with pytest.raises(ExecutorPluginError) as caught:
        check_hooks(WrongExecutor())

    assert str(caught.value) == (
        "WrongExecutor.provison is not a hook; "
        "the hooks are: pickle, upload, provision, run, fetch, cancel, cancel_members, find, release"
    )


def test_hook_with_an_unknown_argument() -> None:
    class WrongExecutor(Hooks):
        @ct.hookimpl
        def cancel(self, job: Job, job_handel: str) -> None: ...

    with pytest.raises(ExecutorPluginError) as caught:
        check_hooks(WrongExecutor())

    assert str(caught.value) == (
        "WrongExecutor.cancel takes 'job_handel', which the hookspec does not have; "
        "it has: task_metadata, job_handle, job, location"
    )


SPECS = {
    "upload": "upload(job, payload)",
    "provision": "provision(job, location)",
    "run": "run(job, location, job_handle)",
    "fetch": "fetch(job, location, job_handle)",
    "cancel": "cancel(task_metadata, job_handle, job, location)",
}


@pytest.mark.parametrize("hook", hookspecs.REQUIRED)
def test_missing_hook(hook: str) -> None:
    class WrongExecutor(Hooks):
        pass

    setattr(WrongExecutor, hook, None)

    with pytest.raises(ExecutorPluginError) as caught:
        check_hooks(WrongExecutor())

    assert str(caught.value) == (
        f"WrongExecutor does not implement {SPECS[hook]}; every executor must, with a method marked @hookimpl"
    )


def test_hook_that_is_not_marked_is_missing() -> None:
    class WrongExecutor(Hooks):
        def run(self) -> None: ...  # type: ignore[override]

    with pytest.raises(ExecutorPluginError, match="WrongExecutor does not implement run"):
        check_hooks(WrongExecutor())


def test_hooks_that_do_not_fit_are_refused_before_they_are_called() -> None:
    with pytest.raises(ExecutorPluginError):
        BoundExecutor(object())


def test_arguments_may_be_left_out_and_stand_in_any_order() -> None:
    class AnyOrderExecutor(Hooks):
        @ct.hookimpl
        async def fetch(self, job_handle: str, job: Job) -> str:
            return f"{job_handle} of {job.ticket}"

    made = AnyOrderExecutor()
    check_hooks(made)

    assert call(made, "fetch", job=job(), location="l", job_handle="h") == "h of t-1"


def test_properties_are_not_touched() -> None:
    class LazyExecutor(Hooks):
        @property
        def connection(self) -> Any:
            raise AssertionError("must not be asked")

    check_hooks(LazyExecutor())


def test_methods_that_are_no_hooks_do_no_harm() -> None:
    class HelpfulExecutor(Hooks):
        def helper(self, anything: int) -> None: ...

        @staticmethod
        def tool() -> None: ...

    check_hooks(HelpfulExecutor())


# --- hooks that are called ---------------------------------------------------------------------------------------


class ThreadsExecutor(Hooks):
    """Tells in which thread each of its hooks runs."""

    @ct.hookimpl
    async def provision(self, job: Job) -> str:
        return f"{job.ticket} {threading.get_ident()}"

    @ct.hookimpl
    def fetch(self, job: Job) -> str:
        return f"{job.ticket} {threading.get_ident()}"

    @ct.hookimpl
    def run(self) -> None:
        return None


def test_async_hook_runs_in_the_thread_of_the_caller() -> None:
    here = threading.get_ident()

    assert call(ThreadsExecutor(), "provision", job=job(), location="l") == f"t-1 {here}"


def test_plain_hook_runs_in_another_thread() -> None:
    here = threading.get_ident()
    name, thread = call(ThreadsExecutor(), "fetch", job=job(), location="l", job_handle="h").split()

    assert name == "t-1"
    assert int(thread) != here


@pytest.mark.parametrize("made", [Hooks(), ThreadsExecutor()], ids=["async", "plain"])
def test_hook_that_returns_nothing_gives_none(made: Any) -> None:
    assert call(made, "run", job=job(), location="l", job_handle="h") is None


class RaisesExecutor(Hooks):
    @ct.hookimpl
    async def provision(self) -> str:
        raise KeyError("of the plugin")

    @ct.hookimpl
    def fetch(self) -> str:
        raise KeyError("of the plugin")


@pytest.mark.parametrize("hook", ["provision", "fetch"])
def test_error_of_a_hook_comes_out_as_it_is(hook: str) -> None:
    arguments = {"job": job(), "location": "l", **({"job_handle": "h"} if hook == "fetch" else {})}

    with pytest.raises(KeyError, match="of the plugin"):
        call(RaisesExecutor(), hook, **arguments)


def test_payload_may_be_a_memoryview() -> None:
    assert call(Hooks(), "upload", job=job(), payload=memoryview(b"12345")) == "t-1: 5"


def test_default_of_pickle_is_a_bundle() -> None:
    payload = call(Hooks(), "pickle", job=job())

    with zipfile.ZipFile(io.BytesIO(payload)) as bundle:
        assert {"__main__.py", "covalent_core/__init__.py", "call", "job.json"} <= set(bundle.namelist())
        assert json.loads(bundle.read("job.json"))["ticket"] == "t-1"


def test_default_of_pickle_runs_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "pack", lambda job: f"{job.ticket} {threading.get_ident()}".encode())
    ticket, thread = call(Hooks(), "pickle", job=job()).split()

    assert ticket == b"t-1"
    assert int(thread) != threading.get_ident()


def test_own_pickle_comes_before_the_default() -> None:
    class OwnExecutor(Hooks):
        @ct.hookimpl
        async def pickle(self, job: Job) -> bytes:
            return job.ticket.encode()

    assert call(OwnExecutor(), "pickle", job=job()) == b"t-1"


@pytest.mark.parametrize("hook", ["find", "release"])
def test_default_of_find_and_release_is_nothing(hook: str) -> None:
    assert call(Hooks(), hook, job=job(), location="l") is None


class AsyncFinder(Hooks):
    @ct.hookimpl
    async def find(self, job: Job) -> str | None:
        return "handle" if job.ticket == "t-1" else None

    @ct.hookimpl
    async def release(self) -> None: ...


class PlainFinder(Hooks):
    @ct.hookimpl
    def find(self, job: Job) -> str | None:
        return "handle" if job.ticket == "t-1" else None

    @ct.hookimpl
    def release(self) -> None: ...


@pytest.mark.parametrize("made", [AsyncFinder(), PlainFinder()], ids=["async", "plain"])
def test_find_that_finds(made: Any) -> None:
    assert call(made, "find", job=job(), location="l") == "handle"


def closed(answer: Any) -> Any:
    """Return the answer of a hook; close it first if it is a coroutine, which nobody would await any more."""
    if hasattr(answer, "close"):
        answer.close()

    return answer


def test_async_find_that_finds_nothing() -> None:
    other = Job("d-1", "t-2", 0, job().tasks)

    assert call(AsyncFinder(), "find", job=other, location="l") is None


def test_plain_find_that_finds_nothing() -> None:
    other = Job("d-1", "t-2", 0, job().tasks)

    assert closed(call(PlainFinder(), "find", job=other, location="l")) is None


@pytest.mark.parametrize(
    "made",
    [
        AsyncFinder(),
        pytest.param(
            PlainFinder(),
        ),
    ],
    ids=["async", "plain"],
)
def test_release_of_ones_own(made: Any) -> None:
    assert closed(call(made, "release", job=job(), location=None)) is None


def test_bound_executor_bears_the_name_of_its_class() -> None:
    assert BoundExecutor(ThreadsExecutor()).name == "ThreadsExecutor"


def test_local_executor_has_all_its_hooks() -> None:
    check_hooks(LocalExecutor())


def test_calls_make_no_warning() -> None:
    hooks: list[tuple[Callable[[], Any], str, dict[str, Any]]] = [
        (Hooks, "upload", {"job": job(), "payload": b""}),
        (Hooks, "provision", {"job": job(), "location": "l"}),
        (ThreadsExecutor, "run", {"job": job(), "location": "l", "job_handle": "h"}),
        (Hooks, "cancel", {"job": job(), "location": "l", "job_handle": "h", "task_metadata": {}}),
    ]

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")

        for made, hook, arguments in hooks:
            call(made(), hook, **arguments)

    assert [str(warning.message) for warning in seen] == []


class Blocking:
    """An executor whose hooks block until it says otherwise, each kind by itself."""

    def __init__(self) -> None:
        self.free = {"run": threading.Event(), "upload": threading.Event()}

    @ct.hookimpl
    def upload(self, job: Job) -> str:
        self.free["upload"].wait(20)
        return "there"

    @ct.hookimpl
    def run(self, job: Job) -> None:
        self.free["run"].wait(20)

    @ct.hookimpl
    def provision(self, job: Job) -> str:
        return "handle"

    @ct.hookimpl
    def fetch(self, job: Job) -> str:
        return "results"

    @ct.hookimpl
    def cancel(self, job: Job) -> None:
        return None

    @ct.hookimpl
    def find(self, job: Job) -> str:
        return "handle"


@pytest.mark.parametrize("hook", ["run", "upload"])
def test_blocking_hooks_that_wait_keep_no_thread_from_those_that_end_jobs_nor_from_the_core(hook: str) -> None:
    blocking = Blocking()
    others = {"cancel": None, "find": "handle", "release": None}

    async def crowd() -> None:
        bound = BoundExecutor(blocking)

        def call(name: str) -> Any:
            everything = {"job": None, "location": "", "job_handle": "", "payload": b"", "task_metadata": {}}
            return bound.call(name, **everything)

        core = anyio.to_thread.current_default_thread_limiter()

        async with anyio.create_task_group() as tasks:
            # More than there are threads in all, where nobody asks for others.
            for _ in range(int(core.total_tokens) + 5):
                tasks.start_soon(call, hook)

            await anyio.wait_all_tasks_blocked()

            try:
                with anyio.fail_after(5):
                    assert {name: await call(name) for name in others} == others
                    assert core.borrowed_tokens == 0
            finally:
                blocking.free[hook].set()

    anyio.run(crowd)

"""What must pass. ``nox --list`` shows the sessions, ``nox`` runs most, ``nox -s tests -- -k cancel`` a part of one.

``nox -s plugins -- ssh -k cancel`` runs a part of the tests of one plugin. The plugins need programs of this machine,
which each names in its pyproject.toml. Root gets those that are missing installed. For anybody else nox says which are
missing and how to get them, runs all that can run without them, and says at the end what it has left out; where
``CI=true``, that is a failure.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import takewhile
from pathlib import Path

import nox

sys.path.append("tests")

from programs import find, installation, is_complete_run, left_out, missing_programs

# The interpreter that runs nox is the one that is tested; none is fetched from elsewhere.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# Thousands of processes import the same modules: each is compiled once.
os.environ["UV_COMPILE_BYTECODE"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
# The plugins last: what they leave out is said at the end.
nox.options.sessions = ["lint", "types", "tests", "oldest", "package", "plugins"]

PROJECT = nox.project.load_toml("pyproject.toml")

PLUGINS = sorted(folder.parent for folder in Path("plugins").glob("*/pyproject.toml"))

#: Plugins whose tests run when they are named: they take minutes each, and have not been watched for long.
NAMED_ONLY = ("awsbatch", "braket", "dask")

#: Exit codes of pytest.
ALL_PASSED, SOME_FAILED = 0, 1

#: The executor that the documentation shows for containers.
DOCKER = Path("examples", "docker")

#: What is worth a look when the tests have become slow.
SLOWEST = "--durations=10"

#: Most tests wait most of the time: for processes to start, to end, to be gone. What takes long is collected first.
SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder")

#: Those of the plugins wait even more, for hosts and clusters, and the suite for executors is most of them.
SUITES_SIDE_BY_SIDE = ("--numprocesses=8", "--dist=load", "--maxschedchunk=1", "--no-loadscope-reorder")

#: Amazon's SDK wants exactly this one; no other dependency has a lower end at which anything is written differently.
OLDEST_PICKLER = "cloudpickle==2.2.1"

#: What has to do with pickles, of the core's tests: both ends of a pickle, and the wire between.
PICKLING_TESTS = ("tests/compose", "tests/runner")

#: Dask wants cloudpickle 3 or newer and Amazon's SDK exactly 2.2.1: no environment has both.
APART = "covalent_core_dask-"

#: What is installed is all there, and comes from the wheels. The SDK is a new one: an installer that finds no way to
#: have both would take one of years ago, and say nothing.
CHECK_INSTALLED = """
import pathlib, sys
from importlib import import_module, metadata

for distribution in metadata.distributions(name="amazon-braket-sdk"):
    assert [int(part) for part in distribution.version.split(".")[:2]] >= [1, 127], distribution.version

for distribution in metadata.distributions():
    if distribution.name.startswith("covalent-core"):
        package = pathlib.Path(import_module(distribution.name.replace("-", "_")).__file__).parent
        assert package.is_relative_to(sys.prefix), f"{package} is not the installed one"
        assert (package / "py.typed").is_file(), f"py.typed is not in the wheel of {distribution.name}"
"""


@nox.session
def lint(session: nox.Session) -> None:
    """Look for mistakes and for code that is not formatted."""
    install_groups(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.install("--editable", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the packages."""
    # Nothing of what is installed here runs.
    session.env["UV_COMPILE_BYTECODE"] = "0"
    # What is known of the core is known to the plugins.
    session.env["MYPY_CACHE_DIR"] = str(Path(".mypy_cache").absolute())
    install_groups(session, "lint", "test")
    session.install("--editable", ".")
    session.run("mypy", *session.posargs)

    for plugin in PLUGINS:
        install_plugin(session, plugin)

        with session.chdir(plugin):
            session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the core, and those that hold the documentation to it."""
    install_groups(session, "test")
    session.install("--editable", ".")
    run_tests(session, *SIDE_BY_SIDE, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the tests of the core that pickle, or those named, with the oldest cloudpickle that it takes."""
    install_groups(session, "test")
    session.install("--editable", ".", OLDEST_PICKLER)
    run_tests(session, *SIDE_BY_SIDE, *(session.posargs or PICKLING_TESTS))


@nox.session
def docs(session: nox.Session) -> None:
    """Run the code of the documentation and compare what it quotes with what is there; `tests` does so too."""
    install_groups(session, "test")
    session.install("--editable", ".")
    session.run("pytest", *SIDE_BY_SIDE, "tests/test_docs.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Play random schedules, as many as you want (``nox -s soak -- --cases 1000000``), then 32 clients for a minute."""
    install_groups(session, "test")
    session.install("--editable", ".")
    session.run("python", "tests/schedules/play.py", *(session.posargs or ["--cases", "100000"]))
    session.run("pytest", "tests/concurrency", env={"COVALENT_CORE_TEST_SECONDS": "60"})


@nox.session
def plugins(session: nox.Session) -> None:
    """Run the tests of SSH and Slurm, or of the plugins named first (`-- dask -x`), against backends here."""
    named = list(takewhile(lambda argument: argument in {plugin.name for plugin in PLUGINS}, session.posargs))
    chosen = [plugin for plugin in PLUGINS if plugin.name in named or not (named or plugin.name in NAMED_ONLY)]
    left = provide_programs(session, chosen)
    install_groups(session, "test")

    for plugin in chosen:
        install_plugin(session, plugin)

        with session.chdir(plugin):
            run_tests(session, *SUITES_SIDE_BY_SIDE, *session.posargs[len(named) :])

    say_what_is_left_out(session, left)


@nox.session
def containers(session: nox.Session) -> None:
    """Run the suite for executors with the example for Docker, against a daemon of its own, which needs root."""
    left = provide_programs(session, [DOCKER])
    install_groups(session, "test")
    session.install("--editable", ".", "--editable", str(DOCKER.absolute()))

    with session.chdir(DOCKER):
        run_tests(session, *SUITES_SIDE_BY_SIDE, *session.posargs)

    say_what_is_left_out(session, left)


def run_tests(session: nox.Session, *options: str) -> None:
    """Run tests; where nothing was chosen, those that fail run once more, alone, and fail the session if they do again.

    Thousands of tests start and kill processes while two cores do other things too. One that passes alone has met a
    moment that it does not allow for. It is named, to be repaired, and does not hide what the others say.
    """
    if session.posargs:
        session.run("pytest", *options, SLOWEST)
        return

    session.run("pytest", *options, SLOWEST, success_codes=[ALL_PASSED, SOME_FAILED])
    failed = last_failed()

    if failed:
        session.run("pytest", "--last-failed", "--maxfail=3", SLOWEST)
        session.warn(f"Failed beside others and passed alone: {', '.join(failed)}. What do they not allow for?")


def last_failed() -> list[str]:
    """Return the tests that failed when pytest ran here."""
    noted = Path(".pytest_cache", "v", "cache", "lastfailed")
    return list(json.loads(noted.read_text())) if noted.exists() else []


def say_what_is_left_out(session: nox.Session, left: str | None) -> None:
    """Let a complete run fail if anything was left out, any other end with the sentence about it."""
    if left and is_complete_run():
        session.error(left)
    elif left:
        session.warn(left)


def provide_programs(session: nox.Session, chosen: list[Path]) -> str | None:
    """Install what the tests of these plugins need if that is possible; return what is said of those left out."""

    def missing() -> dict[str, dict[str, str]]:
        return {plugin.name: missing_programs(plugin) for plugin in chosen}

    packages = [package for programs in missing().values() for package in programs.values()]

    if packages and os.getuid() == 0 and find("apt-get"):
        # Whether it could bring all of them is seen by looking.
        any_end = range(256)
        session.run("apt-get", "update", "--quiet", external=True, success_codes=any_end)
        session.run(*installation(packages), external=True, success_codes=any_end)

    left = left_out(missing())

    if left:
        session.warn(left)

    return left


@nox.session
def package(session: nox.Session) -> None:
    """Build all wheels and the sdist, install the wheels in an empty environment and run a workflow with them."""
    # Outside of the checkout, so that nothing of it can be imported by accident.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        build_and_try(session, Path(folder))


def build_and_try(session: nox.Session, folder: Path) -> None:
    """Build the distributions in `folder`, install the wheels there and use them from an empty home."""
    fresh, apart, home, dist = folder / "fresh", folder / "apart", folder / "home", folder / "dist"
    example = Path("examples", "two_tasks.py").absolute()

    session.install("build[uv]")
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))

    for plugin in PLUGINS:
        session.run("python", "-m", "build", "--installer", "uv", "--wheel", "--outdir", str(dist), str(plugin))

    together = [str(wheel) for wheel in dist.glob("*.whl") if not wheel.name.startswith(APART)]
    install_wheels(session, fresh, together)
    install_wheels(session, apart, ["--find-links", str(dist), *map(str, dist.glob(f"{APART}*"))])
    home.mkdir()
    nothing_set = {name: None for name in os.environ if name.startswith(("COVALENT_CORE_", "XDG_", "PYTHON"))}
    environment = {**nothing_set, "HOME": str(home), "COVALENT_CORE_IDLE_SECONDS": "1"}

    commands = (
        [str(fresh / "bin" / "covalent-core"), "--version"],
        [str(fresh / "bin" / "python"), "-c", CHECK_INSTALLED],
        [str(fresh / "bin" / "python"), str(example)],
        [str(fresh / "bin" / "covalent-core"), "list"],
        [str(fresh / "bin" / "covalent-core"), "executors"],
        [str(apart / "bin" / "python"), "-c", CHECK_INSTALLED],
        [str(apart / "bin" / "covalent-core"), "executors"],
    )

    with session.chdir(home):
        for command in commands:
            session.run(*command, env=environment, external=True)


def install_wheels(session: nox.Session, environment: Path, what: list[str]) -> None:
    """Install wheels in a new environment."""
    session.run("python", "-m", "venv", str(environment))
    # Of the SDKs that come along little is imported.
    session.run(str(environment / "bin" / "pip"), "install", "--quiet", "--no-compile", *what, external=True)


def install_groups(session: nox.Session, *groups: str) -> None:
    """Install what pyproject.toml lists under the names of these dependency groups."""
    session.install(*nox.project.dependency_groups(PROJECT, *groups))


def install_plugin(session: nox.Session, plugin: Path) -> None:
    """Install the core and a plugin as they are in the checkout, with what it stands on and what its tests need.

    One plugin after the other in one environment, for no environment can have all of them: see `APART`.
    """
    project = nox.project.load_toml(plugin / "pyproject.toml")
    needs = project["project"]["dependencies"]
    below = [other for other in PLUGINS if any(need.startswith(f"covalent-core-{other.name}") for need in needs)]
    groups = ["test"] if "test" in project.get("dependency-groups", {}) else []
    ours = (part for folder in [Path(), *below, plugin] for part in ("--editable", str(folder.absolute())))
    session.install(*ours, *(nox.project.dependency_groups(project, *groups) if groups else []))

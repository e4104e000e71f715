"""What must pass. ``nox --list`` shows the sessions; ``nox`` runs all of them, ``nox -s tests -- -k cancel`` a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nox

# The interpreter that runs nox is the one that is tested; none is fetched from elsewhere.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# Thousands of processes import the same modules: each is compiled once.
os.environ["UV_COMPILE_BYTECODE"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests", "plugins", "package"]

PROJECT = nox.project.load_toml("pyproject.toml")

PLUGINS = sorted(folder.parent for folder in Path("plugins").glob("*/pyproject.toml"))

#: Most tests wait most of the time: for processes to start, to end, to be gone. What takes long is collected first.
SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder", "--durations=10")

#: Those of the plugins wait even more, for hosts and clusters, and the suite for executors is most of them.
SUITES_SIDE_BY_SIDE = ("--numprocesses=5", "--dist=load", "--maxschedchunk=1")

#: What the tests of the plugins need of the machine: a program, and the Debian package that brings it.
PROGRAMS = {
    "/usr/sbin/sshd": "openssh-server",
    "/usr/sbin/ip": "iproute2",
    "/usr/sbin/munged": "munge",
    "/usr/sbin/slurmctld": "slurmctld",
    "/usr/sbin/slurmd": "slurmd",
    "/usr/bin/sbatch": "slurm-client",
    "/usr/sbin/slurmdbd": "slurmdbd",
    "/usr/sbin/mariadbd": "mariadb-server-core",
}

#: What is installed is all there, and comes from the wheels.
CHECK_INSTALLED = """
import pathlib, sys
from importlib import import_module, metadata

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


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the packages."""
    install_groups(session, "lint", "test")
    install_all(session)
    session.run("mypy", *session.posargs)

    for plugin in PLUGINS:
        with session.chdir(plugin):
            session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the core, and those that hold the documentation to it."""
    install_groups(session, "test")
    session.install("--editable", ".")
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


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
    """Run the tests of the plugins against real backends on this machine."""
    missing = [package for program, package in PROGRAMS.items() if not Path(program).exists()]

    if missing:
        session.run("apt-get", "update", "--quiet", external=True)
        session.run("apt-get", "install", "--yes", "--no-install-recommends", *missing, external=True)

    install_groups(session, "test")
    install_all(session)

    for plugin in PLUGINS:
        with session.chdir(plugin):
            session.run("pytest", *SUITES_SIDE_BY_SIDE, *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build all wheels and the sdist, install the wheels in an empty environment and run a workflow with them."""
    # Outside of the checkout, so that nothing of it can be imported by accident.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        build_and_try(session, Path(folder))


def build_and_try(session: nox.Session, folder: Path) -> None:
    """Build the distributions in `folder`, install the wheels there and use them from an empty home."""
    fresh, home, dist = folder / "fresh", folder / "home", folder / "dist"
    example = Path("examples", "two_tasks.py").absolute()

    session.install("build[uv]")
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))

    for plugin in PLUGINS:
        session.run("python", "-m", "build", "--installer", "uv", "--wheel", "--outdir", str(dist), str(plugin))

    session.run("python", "-m", "venv", str(fresh))
    session.run(str(fresh / "bin" / "pip"), "install", "--quiet", *map(str, dist.glob("*.whl")), external=True)

    home.mkdir()
    nothing_set = {name: None for name in os.environ if name.startswith(("COVALENT_CORE_", "XDG_", "PYTHON"))}
    environment = {**nothing_set, "HOME": str(home), "COVALENT_CORE_IDLE_SECONDS": "1"}

    commands = (
        [str(fresh / "bin" / "covalent-core"), "--version"],
        [str(fresh / "bin" / "python"), "-c", CHECK_INSTALLED],
        [str(fresh / "bin" / "python"), str(example)],
        [str(fresh / "bin" / "covalent-core"), "list"],
        [str(fresh / "bin" / "covalent-core"), "executors"],
    )

    with session.chdir(home):
        for command in commands:
            session.run(*command, env=environment, external=True)


def install_all(session: nox.Session) -> None:
    """Install the core and all plugins as they are in the checkout."""
    session.install(*(part for folder in [Path(), *PLUGINS] for part in ("--editable", str(folder.absolute()))))


def install_groups(session: nox.Session, *groups: str) -> None:
    """Install what pyproject.toml lists under the names of these dependency groups."""
    session.install(*nox.project.dependency_groups(PROJECT, *groups))

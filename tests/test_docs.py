"""Everything the documentation says that a machine can check: its code runs, and what it quotes is what is there."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from covalent_core import Status, _cli, errors, hookspecs
from covalent_core._dispatch.steps import JobRun
from covalent_core._executors.bound import check_hooks
from covalent_core._local.executor import LocalExecutor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
ALL_MARKDOWN = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

#: A fenced block that begins so is a file of its own: ``# file: name``.
FILE = re.compile(r"# file: (\S+)\n")
#: A fenced block that begins so quotes a method of the core.
METHOD = re.compile(r"async def (\w+)\(self")
HOOKS = [name for name, function in vars(hookspecs).items() if hasattr(function, "covalent_core_spec")]


@dataclasses.dataclass
class Block:
    """A fenced block of a page, and the line at which its content begins, from 0."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if it says so."""
        found = FILE.match(self.text)
        return found.group(1) if found else None

    @property
    def quoted(self) -> str | None:
        """The name of the method that it shows, if it shows one of the core's."""
        found = METHOD.match(self.text)
        return found.group(1) if found else None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(fence.group(1), fence.group(2), text.count("\n", 0, fence.start(2))) for fence in fences]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def first_column(page: Path, heading: str) -> list[str]:
    """Return what stands in the first column of the table below a heading, without its backticks."""
    section = page.read_text().split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    cells = re.findall(r"^\| *`([^`|]+)` *\|", section, re.MULTILINE)
    assert cells, f"no table below {heading!r} of {name_of(page)}"
    return cells


def code_of(page: Path) -> str:
    """Return the Python of a page as one script whose line numbers are those of the page."""
    lines: list[str] = []

    for block in blocks(page):
        if block.language == "python" and not block.file and not block.quoted:
            lines += [""] * (block.line - len(lines))
            lines += block.text.splitlines()

    return "\n".join(lines)


def install_files(page: Path, folder: Path) -> None:
    """Put the files that a page shows where Python finds them, and install the package that its pyproject.toml is."""
    folder.mkdir()

    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).write_text(block.text)

    if (folder / "pyproject.toml").exists():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        installed = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()
        ]
        (installed / "entry_points.txt").write_text("\n".join(groups))


def run_python(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"COVALENT_CORE_IDLE_SECONDS": "1", "PYTHONWARNINGS": "error", **environment}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


# --- what runs ---------------------------------------------------------------------------------------------------


#: Pages whose code takes long, and why.
LONG = {"docs/writing-an-executor.md": pytest.mark.long("runs the workflows of two executors of its own")}
CODE = [pytest.param(p, id=name_of(p), marks=LONG.get(name_of(p), ())) for p in PAGES if code_of(p)]


@pytest.mark.parametrize("page", CODE)
def test_the_code_of_a_page_runs(page: Path, home: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    install_files(page, files)
    environment = {"PYTHONPATH": str(files), "HOME": str(tmp_path / "user")}

    if (files / "config.toml").exists():
        environment["COVALENT_CORE_CONFIG"] = str(files / "config.toml")

    script = tmp_path / page.with_suffix(".py").name.replace("-", "_")
    script.write_text(code_of(page))

    ran = run_python(str(script), cwd=tmp_path, **environment)

    assert ran.returncode == 0, f"{name_of(page)} does not run:\n{ran.stdout}{ran.stderr}"

    for text in printed_by(page):
        assert text in ran.stdout, f"{name_of(page)} says that this is printed:\n{text}\nbut this is:\n{ran.stdout}"


def printed_by(page: Path) -> list[str]:
    """Return what a page says its code prints: the blocks ``text`` that come directly after one of Python."""
    expected = ("python", "text")
    return [after.text for before, after in pairwise(blocks(page)) if (before.language, after.language) == expected]


@pytest.mark.parametrize("page", ALL_MARKDOWN, ids=name_of)
def test_the_commands_of_a_page_are_commands(page: Path) -> None:
    lines = [line for block in blocks(page) if block.language == "console" for line in block.text.splitlines()]

    for line in lines:
        command = shlex.split(line.removeprefix("$ "), comments=True)

        if line.startswith("$ ") and command[0] == "covalent-core":
            parse(command[1:])


def parse(arguments: list[str]) -> None:
    code: int | str | None = 0

    try:
        _cli._parser().parse_args(arguments)
    except SystemExit as end:
        code = end.code

    assert code == 0, f"covalent-core {shlex.join(arguments)} is not a command"


def test_the_examples_run(home: Path, tmp_path: Path) -> None:
    ran = run_python(str(ROOT / "examples" / "cancel_a_workflow.py"), cwd=tmp_path)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "status: RUNNING" in ran.stdout
    assert "status: CANCELLED" in ran.stdout
    assert re.search(r"^Of the [1-9]\d* processes that ran its tasks, 0 are alive\.$", ran.stdout, re.MULTILINE)

    ran = run_python(str(ROOT / "examples" / "two_tasks.py"), cwd=tmp_path)

    assert ran.stdout == "25\n", ran.stdout + ran.stderr


#: Where the files are that pages show, and that are run as they are there.
SHOWN = {"containers.md": ROOT / "examples" / "docker", "writing-an-executor.md": ROOT / "tests" / "plugins"}


@pytest.mark.parametrize("page", SHOWN)
def test_a_file_that_a_page_shows_is_the_one_that_is_tested(page: str) -> None:
    shown = {block.file: block.text.partition("\n")[2] for block in blocks(DOCS / page) if block.file}
    modules = [name for name in shown if name.endswith(".py") and not name.startswith("test_")]

    assert modules

    for name in modules:
        assert shown[name] == (SHOWN[page] / name).read_text()

    # Of a project file, what others write differently is left out.
    found = SHOWN[page] / "pyproject.toml"
    assert not found.exists() or found.read_text().startswith(shown["pyproject.toml"])


# --- what is quoted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_heading_with_its_signature(hook: str) -> None:
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    page = (DOCS / "writing-an-executor.md").read_text()

    assert f"\n### `{hook}({arguments})`\n" in page


def test_the_skeleton_is_an_executor_with_the_required_hooks() -> None:
    scope: dict[str, type] = {}
    exec(blocks(DOCS / "writing-an-executor.md")[0].text, scope)
    skeleton = scope["SkeletonExecutor"]()

    check_hooks(skeleton)
    assert [name for name in vars(type(skeleton)) if name in HOOKS] == list(hookspecs.REQUIRED)


def test_the_required_hooks_are_named() -> None:
    page = (DOCS / "writing-an-executor.md").read_text()
    required = ", ".join(f"`{hook}`" for hook in hookspecs.REQUIRED[:-1]) + f" and `{hookspecs.REQUIRED[-1]}`"

    assert required in " ".join(page.split())


def test_the_way_of_a_job_is_shown_as_it_is() -> None:
    shown = {block.quoted: block.text for block in blocks(DOCS / "how-it-works.md") if block.quoted}

    assert "carry_out" in shown

    for name, text in shown.items():
        assert text == textwrap.dedent(inspect.getsource(getattr(JobRun, name)))


def test_the_statuses_are_those_that_exist() -> None:
    assert first_column(ROOT / "README.md", "## Statuses") == list(Status)


def test_the_options_of_the_local_executor_are_those_that_exist() -> None:
    options = [option.name for option in dataclasses.fields(LocalExecutor)]

    assert first_column(DOCS / "executors.md", "## The local executor") == options


def test_the_executors_that_exist_are_said_to_exist_and_no_others() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert first_column(ROOT / "README.md", "## Executors") == list(project["entry-points"]["covalent_core.executors"])


def test_the_commands_are_those_that_exist() -> None:
    commands = _cli._parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    headings = re.findall(r"^## `covalent-core (\w+)", (DOCS / "command-line.md").read_text(), re.MULTILINE)

    assert headings == list(commands or ())


def test_the_errors_named_in_the_docs_exist() -> None:
    builtins = vars(import_module("builtins"))

    for page in PAGES:
        for name in re.findall(r"`(?:ct\.errors\.|ct\.)?(\w+Error)`", page.read_text()):
            assert hasattr(errors, name) or name in builtins, f"{name_of(page)} names {name}"


def test_the_names_that_the_docs_use_exist() -> None:
    ct = import_module("covalent_core")

    for page in PAGES:
        for name in set(re.findall(r"\bct\.([A-Za-z_]+)", page.read_text())):
            assert hasattr(ct, name), f"{name_of(page)} uses ct.{name}"


@pytest.mark.parametrize("page", ALL_MARKDOWN, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)

    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, anchor = link.partition("#")

        if "://" in path:
            continue

        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)} links to {link}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text()

    assert [page.name for page in DOCS.glob("*.md") if page.name != "index.md" and f"({page.name})" not in index] == []


# --- what is run in other places ---------------------------------------------------------------------------------


def test_ci_runs_the_test_command_of_the_readme() -> None:
    section = (ROOT / "README.md").read_text().split("## Run the tests\n", 1)[1]
    command = re.search(r"^\$ (.+)$", section, re.MULTILINE)
    script = ROOT / ".ci" / "run"

    assert command is not None
    assert script.read_text().splitlines()[-1] == command.group(1)
    assert os.access(script, os.X_OK)


def test_the_sessions_that_are_named_exist() -> None:
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    named = [
        name
        for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        for name in re.findall(r"nox -s (\w+)", page.read_text())
    ]

    assert sessions
    assert set(named) <= set(sessions)


def test_the_changelog_knows_this_version() -> None:
    version = import_module("covalent_core").__version__

    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()

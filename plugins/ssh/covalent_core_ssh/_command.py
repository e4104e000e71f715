"""The commands that are given to the far side's shell. Pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: The exit status by which the interpreter says that it is too old.
TOO_OLD = 86

#: The environment variable that marks what belongs to an agent; a job gets 32 digits of its own.
MARK = "COVALENT_CORE_SUPERVISOR=" + "0" * 32

#: Without quotes and line breaks, so that it passes every shell; the oldest interpreters can read it too.
_BOOTSTRAP = (
    "import os,sys;"
    # What lies in the home directory is not the standard library.
    "sys.path[:]=filter(None,sys.path);"
    "sys.version_info>=(3,8)or[sys.stderr.write(sys.version.split()[0]),sys.stderr.flush(),os._exit({too_old})];"
    "exec(sys.stdin.buffer.read({size}))"
)


def agent_command(python_path: str, size: int, *, conda_env: str | None, prerun_commands: Sequence[str]) -> str:
    """Return the command that starts an interpreter on a program of `size` bytes that comes through its input."""
    program = _BOOTSTRAP.format(too_old=TOO_OLD, size=size)
    interpreter = f"exec env {MARK} {quote_path(python_path)} -c {shlex.quote(program)}"
    steps = [*prerun_commands]

    if conda_env:
        steps.append(f'eval "$(conda shell.bash hook)" && conda activate {shlex.quote(conda_env)}')

    # Modules and conda are functions of a login shell.
    shell = "bash -lc" if steps else "sh -c"
    # Their output would be read as ours.
    script = " && ".join([f"{{ {step}; }} >&2" for step in steps] + [interpreter])
    return f"{shell} {shlex.quote(script)}"


def quote_path(path: str) -> str:
    """Quote a path for a shell, but let the shell find the home directory."""
    return '"$HOME"/' + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)

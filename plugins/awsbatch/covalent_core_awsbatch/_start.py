"""How a job starts: the start command, and the object that it fetches, which has the agent and a list of jobs."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: The modules of which the text of the start command is made, and those of the agent, which uses the first of these.
COMMAND = ("request", "start")
AGENT = ("objects", "mirror", "watcher", "runner", "agent")

#: Up to so many bytes a job fetches all of the object at once, and not its own line for itself.
WHOLE = 128 * 1024

#: The environment variable that tells the start command what to fetch.
VARIABLE = "COVALENT_CORE_START"

#: The name of the object.
NAME = "start"

_FAR_SIDE = Path(__file__).with_name("_far_side")


@cache
def start_command() -> str:
    """Return the program that each job begins with. It is the same for all jobs and has no secret."""
    return "\n".join(_bare(name) for name in COMMAND)


@cache
def agent() -> bytes:
    """Return the agent: a zip from which the start command imports it."""
    buffer = io.BytesIO()

    with zipfile.ZipFile(buffer, "w") as bundle:
        for name in AGENT:
            # A ZipInfo of its own has a fixed date: equal sources give equal bytes.
            content = (_FAR_SIDE / f"{name}.py").read_bytes()
            bundle.writestr(zipfile.ZipInfo(f"{name}.py"), content, zipfile.ZIP_DEFLATED)

    return buffer.getvalue()


class StartObject:
    """What the jobs of one order fetch first: a line for each of them, all of one width, and behind these the agent.

    Args:
        records: The lines, by the place in the array.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        lines = [json.dumps(record) for record in records]
        self._width = max(map(len, lines)) + 1
        self._lines = "".join(f"{line:<{self._width - 1}}\n" for line in lines).encode()
        self.content = self._lines + agent()

    def order(self, url: str, region: str, *, time_limit: float | None, beat: float) -> str:
        """Return what `VARIABLE` tells the start command.

        Args:
            url: Where the object is, or the link to it.
            region: That of the bucket if the job signs for itself, else empty.
        """
        place: dict[str, object] = {"begin": len(self._lines), "size": len(agent())}
        place |= {"whole": len(self.content) <= WHOLE, "sha256": hashlib.sha256(agent()).hexdigest()}
        kept = {"width": self._width, "time_limit": time_limit, "beat": beat}
        return json.dumps({"url": url, "region": region, **place, **kept})


def read_records(content: bytes) -> list[dict[str, Any]]:
    """Return the lines of a start object."""
    return [json.loads(line) for line in content.partition(b"PK\3\4")[0].splitlines()]


def _bare(name: str) -> str:
    """Return a module without what only people read, and without what it takes from the other one."""
    tree = ast.parse((_FAR_SIDE / f"{name}.py").read_text())

    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]

    taken = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module in COMMAND]
    tree.body = [node for node in tree.body if node not in taken]
    return ast.unparse(tree)

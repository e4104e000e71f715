"""The archive that Amazon's container opens: a package with the agent, and nothing that it would install."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from importlib.resources import files

#: A script flat at the root of an archive is not found; a package is.
PACKAGE = "covalent_job"

#: What the container calls, without arguments.
ENTRY_POINT = f"{PACKAGE}.agent:main"


def make_archive(ticket: str, region: str, time_limit: float) -> bytes:
    """Return the archive of a job; equal jobs give equal bytes."""
    agent = files("covalent_core_braket").joinpath("_far_side/agent.py").read_bytes()
    settings = json.dumps({"ticket": ticket, "region": region, "time_limit": time_limit}).encode()
    buffer = io.BytesIO()

    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("__init__.py", b""), ("agent.py", agent), ("settings.json", settings)):
            entry = tarfile.TarInfo(f"{PACKAGE}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

    return gzip.compress(buffer.getvalue(), mtime=0)

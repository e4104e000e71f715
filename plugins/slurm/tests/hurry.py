"""A controller that looks after its jobs fifty times a second instead of once, so that tests need not wait for it.

What it does is what Slurm does, only when is not: tests of the other cluster see it as it is.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from programs import find

SOURCE = Path(__file__).with_name("hurry.c")


def hurrying(folder: Path) -> dict[str, str]:
    """Return the variables with which slurmctld hurries; none where there is no C compiler."""
    library, compiler = folder / "hurry.so", find("cc")
    command = [compiler or "", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    compiled = compiler is not None and subprocess.run(command, capture_output=True).returncode == 0
    return {"LD_PRELOAD": str(library)} if compiled else {}

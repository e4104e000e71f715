"""Named stops: places at which a test can hold the dispatcher, to kill it there or to let something else happen first.

They cost a comparison unless ``COVALENT_CORE_STOPS`` names a folder. A stop whose name is a file in that folder is
taken: the dispatcher says so with a file ``<name>.reached`` and waits until the first file is removed.
"""

from __future__ import annotations

import os
from pathlib import Path

from anyio import sleep

_folder = os.environ.get("COVALENT_CORE_STOPS")


async def stop(name: str) -> None:
    """Wait here if a test asks for it."""
    if _folder is not None:
        asked = Path(_folder, name)

        if asked.exists():
            asked.with_suffix(".reached").touch()

        while asked.exists():
            await sleep(0.002)

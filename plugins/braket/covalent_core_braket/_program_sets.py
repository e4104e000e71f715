"""The results of program sets, which are many objects in S3 that name each other."""

from __future__ import annotations

import json
from typing import Any

from covalent_core_braket._storage import Folder


async def complete(text: str, folder: Folder) -> str:
    """Return a result with all that is elsewhere put into it: Amazon's SDK would ask with credentials of its own.

    Args:
        text: What is in ``results.json``.
        folder: Where that is.
    """
    result = json.loads(text)

    if not result.get("s3Location"):
        return text

    bucket, prefix = result["s3Location"]
    root = folder.at(bucket, prefix)
    result["s3Location"] = None
    result["taskMetadata"] = await _inline(result["taskMetadata"], root)
    result["programResults"] = [await _program(one, root) for one in result["programResults"]]
    return json.dumps(result)


async def _program(found: Any, root: Folder) -> Any:
    if not isinstance(found, str):
        return found

    program = await _inline(found, root)
    below = root.at(root.bucket, f"{root.key}/{found}".rpartition("/")[0])
    program["source"] = await _inline(program["source"], below)
    program["executableResults"] = [await _inline(one, below) for one in program["executableResults"]]
    return program


async def _inline(found: Any, folder: Folder) -> Any:
    return json.loads(await folder.get(found)) if isinstance(found, str) else found

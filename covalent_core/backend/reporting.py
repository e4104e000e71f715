"""To do something else as long as somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Do some work as long as `run` waits within this, reports of what a job writes for example.

    Raises:
        Exception: What the work has raised, when the waiting is over.
    """
    task = asyncio.create_task(work)

    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])

    if not task.cancelled():
        task.result()

"""A job as its supervisor sees it, without opening it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any, Dict, List, Optional, Set

from .protocol import ORDER


class Job:
    """Which nodes there are, which of them have ended, and for how long the next may run.

    Args:
        order: What came with it: ``job.json`` of a bundle, or the word of a dispatcher.
        call: What there is to do, if that is not in a file.

    Attributes:
        prefix: The beginning of the names of its files.
        python: The version of Python that has pickled its functions.
        fresh: Whether it needs a worker that has had no job before.
        outcomes: By node the record of its outcome, empty if it is in its file.
        cancelled: Those that are to be ended while the others go on.
        last: The node that has ended last, if the dispatcher hears of it together with the end.
    """

    def __init__(self, order: Dict[str, Any], call: bytes = b"") -> None:
        self.ticket: str = order["ticket"]
        self.prefix: str = order["prefix"]
        self.node_ids: List[int] = order["node_ids"]
        self.grace = float(order["grace"])
        self.python: str = order["python"]
        self.fresh = bool(order.get("fresh"))
        self.call = call
        self.outcomes: Dict[int, bytes] = {}
        self.cancelled: Set[int] = set()
        self.last: Optional[int] = None
        self._timeouts: Dict[str, float] = order.get("timeouts", {})
        self._begun = 0.0

    @property
    def left(self) -> List[int]:
        """The nodes that have not ended, as far as their worker has said; the first of them runs."""
        return [node_id for node_id in self.node_ids if node_id not in self.outcomes]

    @property
    def current(self) -> Optional[int]:
        return next((node_id for node_id in self.node_ids if node_id not in self.outcomes), None)

    @property
    def timeout(self) -> Optional[float]:
        """For how many seconds the node that runs may do so."""
        return self._timeouts.get(str(self.current)) if self._timeouts else None

    @property
    def seconds_left(self) -> float:
        """How many of them are left."""
        timeout = self.timeout
        return float("inf") if timeout is None else self._begun + timeout - time.monotonic()

    def begin_next(self) -> None:
        """Note that a node begins now."""
        self._begun = time.monotonic()

    def file(self, node_id: int) -> str:
        """Return the beginning of the names of the files of a node."""
        return f"{self.prefix}.{node_id}"


def order_to_end(prefix: str) -> Dict[str, Any]:
    """Return what somebody has said of the end of a job: the ``reason``, and how many seconds of ``grace`` are left."""
    try:
        os.close(os.open(os.path.dirname(prefix), os.O_RDONLY))

        with open(prefix + ORDER, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        # An order without words is one all the same.
        return {}


def ordered_ends(prefix: str) -> List[int]:
    """Return the nodes of a pack that are to be ended while the others go on."""
    # That no order can be seen is no word that there is none: it is looked again.
    with contextlib.suppress(OSError):
        # Who opens a folder of a network file system sees what others have written there since.
        os.close(os.open(os.path.dirname(prefix), os.O_RDONLY))

        with open(prefix + ".cancel", encoding="utf-8") as file:
            node_ids: List[int] = json.load(file)
            return node_ids

    return []

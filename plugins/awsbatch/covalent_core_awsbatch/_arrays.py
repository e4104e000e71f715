"""The arrays of an account: which jobs are in which, as their start objects say, and where they stand."""

from __future__ import annotations

from collections.abc import Collection

from covalent_core_awsbatch._objects import Folder, Objects
from covalent_core_awsbatch._start import NAME, read_records

#: What stands between the ticket of its first job and what makes the name of an array its own.
ARRAY = "-array-"


class Arrays:
    """The arrays of an account."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._members: dict[str, dict[str, tuple[int, int]]] = {}

    async def members(self, folder: Folder) -> dict[str, tuple[int, int]]:
        """Return by ticket the place and the order of the jobs of a start object; none if it is gone."""
        if str(folder) not in self._members:
            try:
                records = read_records(await self._objects.get(folder, NAME))
            except FileNotFoundError:
                return {}

            self.note(folder, [(record["ticket"], int(record["owner"].partition(".")[2])) for record in records])

        return self._members[str(folder)]

    def note(self, folder: Folder, tickets: Collection[tuple[str, int]]) -> None:
        """Know what stands in a start object: tickets, each with the number of its order."""
        self._members[str(folder)] = {ticket: (place, order) for place, (ticket, order) in enumerate(tickets)}

    def forget(self, folder: Folder) -> None:
        """Know that a start object is gone, or will be another one."""
        self._members.pop(str(folder), None)

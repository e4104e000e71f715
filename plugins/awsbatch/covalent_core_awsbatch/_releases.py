"""What is removed of jobs that have ended: their objects, what was left of unfinished uploads, and empty arrays."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from covalent_core.backend import Together
from covalent_core_awsbatch._arrays import ARRAY, Arrays
from covalent_core_awsbatch._objects import OWNER, Folder, Objects, Seen, by_folder


class Releases:
    """Remove what there is of jobs, of all at once that end together."""

    def __init__(self, objects: Objects, arrays: Arrays) -> None:
        self._objects = objects
        self._arrays = arrays
        # Each has to see what the one before it has left: the last one removes the array.
        self._one_by_one = asyncio.Lock()
        self._ended: Together[Folder, None] = Together(self._release, moment=0.05, longest=2.0)

    async def release(self, folder: Folder) -> None:
        """Return when nothing of a job is left.

        Raises:
            BatchError: It is not known that nothing is.
        """
        await self._ended.ask(folder)

    async def _release(self, folders: list[Folder]) -> Mapping[Folder, Exception | None]:
        found: dict[Folder, Exception | None] = {}

        for bucket, prefix in {(folder.bucket, folder.siblings) for folder in folders}:
            alike = [folder for folder in folders if (folder.bucket, folder.siblings) == (bucket, prefix)]

            try:
                async with self._one_by_one:
                    await self._release_alike(bucket, prefix, alike)

                found |= dict.fromkeys(alike)
            except Exception as error:
                found |= dict.fromkeys(alike, error)

        return found

    async def _release_alike(self, bucket: str, prefix: str, folders: list[Folder]) -> None:
        names = {folder.name for folder in folders}
        await self._objects.abort_uploads(bucket, prefix, names)
        listed = by_folder(await self._objects.list(bucket, prefix), prefix)
        gone = [folder.key(name) for folder in folders for name in listed.get(folder.name, ())]
        # A job that comes late and finds no owner must find no bundle either.
        await self._objects.delete(bucket, [key for key in gone if not _is_owner(key)])
        await self._objects.delete(bucket, [key for key in gone if _is_owner(key)])
        await self._remove_empty_arrays(folders[0], listed, names)

    async def _remove_empty_arrays(
        self, beside: Folder, listed: Mapping[str, Mapping[str, Seen]], released: Collection[str]
    ) -> None:
        left = {name for name in listed if name not in released and ARRAY not in name}

        for name in [name for name in listed if ARRAY in name]:
            array = beside.beside(name)
            members = await self._arrays.members(array)

            if left.isdisjoint(members):
                await self._objects.delete(array.bucket, [array.key(key) for key in listed[name]])
                self._arrays.forget(array)


def _is_owner(key: str) -> bool:
    return key.rpartition("/")[2].startswith(OWNER)

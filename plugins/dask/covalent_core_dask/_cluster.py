"""The line to a Dask cluster: opened when it is needed, opened again when it was lost, its workers checked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from anyio import fail_after, to_thread
from distributed import Client, Future, Security, Variable, wait

from covalent_core.backend import Opening
from covalent_core.errors import BackendUnreachableError
from covalent_core_dask._own import own_cluster
from covalent_core_dask._program import Program
from covalent_core_dask._versions import differences
from covalent_core_dask.errors import DaskFolderError, DaskVersionsError

# It says of each connection and of each cancel that there was one.
logging.getLogger("distributed").setLevel(logging.WARNING)

#: Seconds within which a scheduler, and a worker beside its tasks, must answer.
ANSWER_SECONDS = 10.0

#: Seconds between two looks at whether workers have come.
CHECK_SECONDS = 1.0


class Cluster:
    """A scheduler and its workers, of which nothing is believed but that they pass on what they are given.

    Args:
        address: The scheduler; None for one in this process, without a port.
        security: The certificates, None for none.
        threads: How many tasks run at once where it is in this process.
        program: What its workers run.
    """

    def __init__(self, address: str | None, security: Security | None, threads: int, program: Program) -> None:
        self.name = address or "the cluster in this process"
        self._address = address
        self._security = security
        self._threads = threads
        self._program = program
        self._own = AsyncExitStack()
        self._opening: Opening[Client] = Opening(self._open, lambda client: client.status == "running", first_pause=0.5)
        self._last: Client | None = None
        self._places: dict[str, str] = {}
        self._checking = asyncio.Lock()
        self._checked_at = float("-inf")

    async def submit(self, key: str, options: Mapping[str, Any], do: str, **order: Any) -> Any:
        """Return the future of a task that the scheduler knows and keeps, whatever becomes of this process.

        Raises:
            DaskError: Its workers cannot be used.
            BackendUnreachableError: It is not known whether the scheduler has taken it.
        """
        async with self._answering() as client:
            await self._check(client)
            arguments = self._program.arguments(do, **order)
            future = client.submit(self._program.call, *arguments, key=key, pure=False, retries=0, **options)
            # A scheduler forgets what nobody wants, and who has submitted it may die.
            await Variable(key, client=client).set(future, timeout=ANSWER_SECONDS)
            return future

    async def states(self, keys: Collection[str]) -> Mapping[str, str | None]:
        """Return the states of tasks in Dask's words, None of one that the scheduler does not know.

        Raises:
            BackendUnreachableError: It does not answer.
        """
        async with self._answering() as client:
            found: Mapping[str, str | None] = await client.scheduler.get_task_status(keys=list(keys))
            return found

    async def error(self, key: str) -> str:
        """Return what a task that has failed has raised, in words."""
        async with self._answering() as client:
            return str(await (await Variable(key, client=client).get(timeout=ANSWER_SECONDS)).exception())

    async def forget(self, key: str) -> None:
        """Let the scheduler know nothing of a task any more.

        Raises:
            BackendUnreachableError: It does not answer.
        """
        async with self._answering() as client:
            Variable(key, client=client).delete()
            await client.cancel([Future(key, client=client)], force=True)

    async def came_back(self, future: Any) -> None:
        """Return when a task has come back in whatever way, or nothing will be heard of it any more."""
        # That is a question to the ticket, never an outcome.
        with suppress(Exception):
            await wait([future])

    async def ask_beside(self, worker: str, do: str, *, seconds: float = ANSWER_SECONDS, **order: Any) -> Any:
        """Return what the agent beside a worker answers, however busy that is.

        Raises:
            BackendUnreachableError: It does not answer.
        """
        async with self._answering(worker, seconds) as client:
            arguments = self._program.arguments("ask", request={"do": do, **order})
            (answer,) = (await client.run(self._program.call_now, *arguments, workers=[worker])).values()
            return answer

    async def workers_at(self, place: str) -> list[str]:
        """Return the addresses of the workers that see the processes of a place.

        Raises:
            BackendUnreachableError: The scheduler does not answer.
        """
        async with self._answering() as client:
            if new := await self._new_workers(client):
                await self._ask_places(client, new)

        return [address for address, found in self._places.items() if found == place]

    async def close(self) -> None:
        """Leave the cluster; end it if it is of this process."""
        self._opening.close()

        if self._last is not None:
            with suppress(Exception):
                await self._last.close()

        await self._own.aclose()

    @asynccontextmanager
    async def _answering(self, who: str = "", seconds: float = ANSWER_SECONDS) -> AsyncIterator[Client]:
        """Give the client; what goes wrong within is no word about any job."""
        try:
            with fail_after(seconds):
                yield await self._opening.get()
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            said = f": {error}" if str(error) else ""
            raise BackendUnreachableError(f"{who or self.name} does not answer{said}") from error

    async def _open(self) -> Client:
        if self._last is not None:
            # It would try to come back by itself.
            with suppress(Exception):
                await self._last.close()

        await to_thread.run_sync(self._program.bring)
        address = self._address or await self._begin_own()
        client = Client(
            address,
            security=self._security,
            asynchronous=True,
            set_as_default=False,
            timeout=ANSWER_SECONDS / 2,
            name="covalent-core",
        )
        self._last = await client
        self._places.clear()
        self._checked_at = float("-inf")
        return self._last

    async def _begin_own(self) -> str:
        await self._own.aclose()
        return await self._own.enter_async_context(own_cluster(self._threads))

    async def _check(self, client: Client) -> None:
        """Look at the workers that have come since the last look, before they get a job.

        Raises:
            DaskVersionsError: They do not match.
            DaskFolderError: They do not see the files of the jobs.
        """
        async with self._checking:
            if self._address is None or time.monotonic() < self._checked_at + CHECK_SECONDS:
                return

            if new := await self._new_workers(client):
                if table := differences(await client.get_versions()):
                    raise DaskVersionsError(f"{self.name}: the versions do not match\n{table}")

                await self._ask_places(client, new)

                if blind := sorted(new - self._places.keys()):
                    raise DaskFolderError(
                        f"{self.name}: the workers {', '.join(blind)} do not see {self._program.path.parent}; set "
                        f"workdir to a folder that they and this machine see under the same path"
                    )

            self._checked_at = time.monotonic()

    async def _new_workers(self, client: Client) -> set[str]:
        """Return the addresses of the workers that have not been asked where they are, and forget those that left."""
        known = set(await client.nthreads())

        for gone in self._places.keys() - known:
            del self._places[gone]

        return known - self._places.keys()

    async def _ask_places(self, client: Client, workers: set[str]) -> None:
        arguments = self._program.arguments("ask", request={"do": "place"})
        found = await client.run(self._program.call_now, *arguments, workers=sorted(workers), on_error="return")
        said = {address: answer for address, answer in found.items() if isinstance(answer, dict)}
        self._places.update({address: answer["place"] for address, answer in said.items() if "place" in answer})


def security_of(ca_file: str | None, cert: str | None, key: str | None) -> Security | None:
    """Return the certificates that are shown and asked for, None for what Dask's own configuration says."""
    if not (ca_file or cert or key):
        return None

    return Security(tls_ca_file=ca_file, tls_client_cert=cert, tls_client_key=key, require_encryption=True)

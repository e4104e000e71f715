"""The process that is AWS: an event loop for Batch, threads for HTTP, moto for the rest."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from werkzeug.serving import WSGIRequestHandler, make_server

from . import signatures
from .admin import Admin
from .answers import Answer, as_json, refusal
from .batch import Batch
from .batch.container import in_namespace
from .batch.errors import ApiError
from .batch.protocol import check_answer, parse
from .credentials import Credentials
from .edge import Edge
from .knobs import Knobs
from .moto_services import MotoServices
from .request import CREDENTIALS, Request

ACCOUNT = "123456789012"
T = TypeVar("T")


class _Handler(WSGIRequestHandler):
    """Says nothing of the requests: they are counted."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Server:
    """All parts of the endpoint, and how they reach each other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self._loop = loop
        self._folder = folder
        self._regions: dict[str, Batch] = {}
        self.knobs = Knobs()
        self.credentials = Credentials(self.knobs)
        self._moto = MotoServices(ACCOUNT)
        self._admin = Admin(self)
        self.edge = Edge(self._admin.answer, self._serve, self._moto.answer, self._verify)
        self._http = make_server("127.0.0.1", 0, self.edge, threaded=True, request_handler=_Handler)
        self._http.daemon_threads = True  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        loop.set_exception_handler(self._note)

    def serve(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def batch(self, region: str) -> Batch:
        """Return the Batch of a region. Only in the loop."""
        if region not in self._regions:
            folder = self._folder / region
            own = self.knobs, self.credentials, self._moto
            self._regions[region] = Batch(folder, *own, ACCOUNT, region, self.url)

        return self._regions[region]

    def in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this where the jobs live, and return what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def clear(self) -> None:
        """End and forget all jobs, turn the knobs back, let no fault happen any more, and count from 0."""
        for batch in self._regions.values():
            await batch.clear()

        self.knobs.reset()
        self.edge.faults.clear()
        self.edge.calls.clear()

    def _verify(self, request: Request) -> None:
        """Check who sent a request; containers are given credentials for the secret that is in the address."""
        if request.service == CREDENTIALS:
            return

        signatures.check(request, lambda key: self.credentials.find(key) or self._moto.find_key(key))

    def _serve(self, request: Request) -> Answer | None:
        """Answer what moto does not."""
        if request.service == CREDENTIALS:
            found = self.credentials.of_role(request.path)
            return as_json(found or {"message": "no such credentials"}, 200 if found else 404)

        return self._answer_batch(request) if request.service == "batch" else None

    def _answer_batch(self, request: Request) -> Answer:
        try:
            operation = request.operation
            parameters = parse(operation, request.body)
            answer = self.in_loop(self._call(operation, parameters, request.region))
        except ApiError as error:
            return refusal("batch", error.code, error.message, error.status)

        check_answer(operation, answer)
        return as_json(answer)

    async def _call(self, operation: str, parameters: dict[str, Any], region: str) -> dict[str, Any]:
        return self.batch(region).call(operation, parameters)

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what went wrong with the endpoint itself, for whoever stops it."""
        self.edge.broken.append(f"{context.get('message')}: {context.get('exception')!r}")
        loop.default_exception_handler(context)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    in_namespace()

    with tempfile.TemporaryDirectory(prefix="aws-") as folder:
        server = Server(loop, Path(folder))
        server.serve()
        user = server.credentials.user
        print(server.url, user.access_key, user.secret_key, flush=True)
        await over.wait()
        await server.clear()


def main() -> None:
    """Serve until SIGTERM."""
    asyncio.run(_main())

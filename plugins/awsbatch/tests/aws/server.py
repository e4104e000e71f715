"""The process that is AWS: an event loop for Batch, threads for HTTP, moto for the rest."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from werkzeug.serving import WSGIRequestHandler, make_server

from . import signatures
from .admin import Admin
from .answers import Answer, as_json, refusal
from .batch import Batch
from .batch.errors import ApiError
from .batch.protocol import check_answer, parse
from .credentials import Credentials
from .edge import Edge, Environ
from .knobs import Knobs
from .request import Request

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
        self.broken: list[str] = []
        self.knobs = Knobs()
        self.credentials = Credentials(self.knobs, ACCOUNT)
        verify = lambda request: signatures.check(request, self.credentials)  # noqa: E731
        self.edge = Edge(Admin(self).answer, self._answer_batch, _Moto(), verify)
        self._http = make_server("127.0.0.1", 0, self.edge, threaded=True, request_handler=_Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        loop.set_exception_handler(self._note)

    def serve(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def batch(self, region: str) -> Batch:
        """Return the Batch of a region. Only in the loop."""
        if region not in self._regions:
            folder = self._folder / region
            self._regions[region] = Batch(folder, self.knobs, self.credentials, ACCOUNT, region, self.url)

        return self._regions[region]

    def in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this where the jobs live, and return what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

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
        self.broken.append(f"{context.get('message')}: {context.get('exception')!r}")
        loop.default_exception_handler(context)


class _Moto:
    """moto's application, which takes a second to import: it is there when it is needed."""

    def __init__(self) -> None:
        self._application: Any = None
        self._importing = threading.Thread(target=self._import, daemon=True)
        self._importing.start()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        self._importing.join()
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer

    def _import(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._application = DomainDispatcherApplication(create_backend_app)

        for module in ("s3", "logs"):
            importlib.import_module(f"moto.{module}.models")


async def _main() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    with tempfile.TemporaryDirectory(prefix="aws-") as folder:
        server = Server(loop, Path(folder))
        server.serve()
        user = server.credentials.user
        print(server.url, user.access_key, user.secret_key, flush=True)
        await over.wait()
        # Containers that still run are killed with the process that started them.
        sys.stdout.flush()


def main() -> None:
    """Serve until SIGTERM."""
    asyncio.run(_main())

"""The endpoint as a process: Braket by itself, S3, IAM and logs by moto, and a door for tests."""

from __future__ import annotations

import functools
import json
import logging
import socket
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from . import door, jobs, other, tasks, wire
from .account import Account
from .faults import Fault
from .hosting import Host
from .prices import price_list
from .roles import Roles
from .wire import ApiError, Request

HERE = "127.0.0.1"


class Endpoint:
    """All accounts, and what they share.

    Args:
        folder: Where the files of containers are.
    """

    def __init__(self, folder: Path, port: int) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto = ThreadedMotoServer(ip_address=HERE, port=0, verbose=False)
        moto.start()
        self.aws = f"http://{HERE}:{moto.get_host_and_port()[1]}"
        self.braket = f"http://{HERE}:{port}"
        self.roles = Roles(f"{self.braket}/credentials")
        # In a container, the names of Amazon's hosts lead to Amazon; here, these do.
        names = {"AWS_ENDPOINT_URL": self.aws, "AWS_ENDPOINT_URL_BRAKET": self.braket}
        self.host = Host(self.client, names, folder, self.roles)
        self._accounts: dict[str, Account] = {}
        self._lock = threading.Lock()

    @functools.cache  # noqa: B019  # as long as the process
    def client(self, service: str, region: str) -> Any:
        """Return a client for a service that moto plays."""
        keys = {"aws_access_key_id": "of-the-service", "aws_secret_access_key": "none"}

        with self._lock:
            return boto3.client(service, region_name=region, endpoint_url=self.aws, **keys)

    def account(self, access_key: str) -> Account:
        """Return who has signed with a key.

        Raises:
            ApiError: It is that of a role, and no longer valid.
        """
        session = self.roles.session(access_key)

        if session is not None:
            if time.monotonic() > session.expires:
                raise ApiError("ExpiredTokenException", "The security token included in the request is expired")

            return session.account

        with self._lock:
            return self._accounts.setdefault(access_key, Account(access_key))

    def end_containers(self) -> None:
        """End all that run, and wait until they have ended."""
        jobs_of_all = [job for account in list(self._accounts.values()) for job in account.jobs.values()]
        running = [job.process for job in jobs_of_all if job.is_alive]

        for process in running:
            process.stdin.close()

        for process in running:
            process.wait()

    @functools.cached_property
    def operations(self) -> dict[str, Callable[[Account, Request], dict[str, Any]]]:
        """What there is, by name."""
        s3 = functools.partial(self.client, "s3")

        return {
            "CreateJob": functools.partial(jobs.create, host=self.host),
            "GetJob": jobs.get,
            "SearchJobs": jobs.search,
            "CancelJob": jobs.cancel,
            "CreateQuantumTask": functools.partial(tasks.create, s3=s3),
            "GetQuantumTask": tasks.get,
            "SearchQuantumTasks": tasks.search,
            "CancelQuantumTask": tasks.cancel,
            "GetDevice": other.get_device,
            "SearchDevices": other.search_devices,
            "TagResource": other.tag,
            "UntagResource": other.untag,
            "ListTagsForResource": other.list_tags,
        }

    def carry_out(self, account: Account, request: Request) -> tuple[int, bytes, str]:
        """Do what was asked; return the HTTP status, the answer and the name of the error if it is one."""
        try:
            operation = self.operations.get(request.operation, other.spending_limits)
            return (*wire.answer(request.operation, operation(account, request)), "")
        except ApiError as problem:
            account.refusals.append(
                {"operation": request.operation, "code": problem.code, "text": str(problem), "detail": problem.detail}
            )
            return (*wire.refusal(request.operation, problem), problem.code)
        except Exception as error:
            account.mistakes.append(f"{request.operation}: {type(error).__name__}: {error}")
            return (*wire.refusal("", ApiError("InternalServiceException", str(error))), "InternalServiceException")


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    endpoint: Endpoint

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self) -> None:
        """Answer a request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        kind, _, rest = url.path.lstrip("/").partition("/")

        if kind == "credentials":
            found = self.endpoint.roles.fetch(rest)
            self.answer(200 if found else 404, json.dumps(found or {}).encode())
        elif kind == "prices":
            knobs = self.endpoint.account(rest).knobs
            time.sleep(knobs.price_seconds)
            self.answer(503 if knobs.prices == "broken" else 200, price_list(knobs.prices).encode(), kind="text/csv")
        elif kind == "test":
            self.let_in(rest, body)
        else:
            self.braket(url, body)

    def let_in(self, path: str, body: bytes) -> None:
        """Do what a test wants, or say why not."""
        try:
            content = json.dumps(door.knock(self.endpoint, path, body), default=str).encode()
        except Exception as error:
            self.answer(400, f"{type(error).__name__}: {error}".encode())
        else:
            self.answer(200, content)

    def braket(self, url: urllib.parse.SplitResult, body: bytes) -> None:
        operation, account = "", None

        try:
            operation, in_path = wire.route(self.command, url.path)
            access_key, region = wire.signer(self.headers.get("Authorization") or "")
            account = self.endpoint.account(access_key)
            account.calls[operation] += 1
            account.rates.take(operation, account.knobs.speed)
            request = Request(operation, access_key, region, wire.fields(operation, in_path, url.query, body))
        except ApiError as problem:
            if account is not None:
                said = {"code": problem.code, "text": str(problem), "detail": problem.detail}
                account.refusals.append({"operation": operation, **said})

            self.answer(*wire.refusal("", problem), error=problem.code)
            return

        fault = account.take_fault(operation)

        if fault is None:
            status, content, error = self.endpoint.carry_out(account, request)
            self.answer(status, content, error=error)
        else:
            self.go_wrong(account, request, fault)

    def go_wrong(self, account: Account, request: Request, fault: Fault) -> None:
        """Do what was asked or do not, and give another answer than would be due."""
        if fault.accepted and fault.late:
            threading.Timer(fault.late, self.endpoint.carry_out, (account, request)).start()
        elif fault.accepted:
            self.endpoint.carry_out(account, request)

        if fault.then == "silence":
            time.sleep(fault.seconds)

        if fault.then in ("close", "silence"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.then.isdigit():
            self.answer(int(fault.then), b'{"message": "no answer of the service"}')
        else:
            self.answer(*wire.refusal(request.operation, ApiError(fault.then, "as it was told")), error=fault.then)

    def answer(self, status: int, content: bytes, *, error: str = "", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-amzn-RequestId", f"{time.monotonic_ns():032x}")

        if error:
            self.send_header("x-amzn-ErrorType", error)

        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = exchange  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as come."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that are gone: tests kill them."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(announce: Callable[[str], None], wait: Callable[[], object]) -> None:
    """Serve for a while, and leave nothing behind.

    Args:
        announce: Is told where, in JSON.
        wait: Returns when that while is over.
    """
    temporary = tempfile.TemporaryDirectory(prefix="braket-", ignore_cleanup_errors=True)

    with temporary as folder, Server((HERE, 0), Exchange) as server:
        endpoint = Endpoint(Path(folder), server.server_address[1])
        Exchange.endpoint = endpoint
        door.furnish(endpoint)
        # The first task would wait for it.
        threading.Thread(target=__import__, args=("braket.default_simulator",), daemon=True).start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        announce(json.dumps({"braket": endpoint.braket, "aws": endpoint.aws}))

        try:
            wait()
        finally:
            server.shutdown()
            endpoint.end_containers()

"""Where requests arrive: counted, spoilt where a test wants that, checked, and given to their service."""

from __future__ import annotations

import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from .answers import Answer, refusal
from .faults import Calls, Fault, Faults
from .request import Request
from .signatures import SignatureError

Environ = dict[str, Any]
OWN_PATH = "/_aws/"


class Edge:
    """A WSGI application before all others.

    Args:
        admin: Answers what is not of AWS; it is neither counted nor checked.
        own: Answers what moto does not, None to all else.
        moto: Answers the rest.
        verify: Checks who sent a request.

    Attributes:
        broken: What went wrong with the endpoint itself.
    """

    def __init__(
        self,
        admin: Callable[[Request], Answer],
        own: Callable[[Request], Answer | None],
        moto: Callable[[Environ, bytes], Answer],
        verify: Callable[[Request], None],
    ) -> None:
        self._admin, self._own, self._moto, self._verify = admin, own, moto, verify
        self.faults = Faults()
        self.calls = Calls()
        self.broken: list[str] = []

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        request = Request.of(environ)
        stream = environ["wsgi.input"]

        if request.path.startswith(OWN_PATH):
            request.body = _read(stream, request)
            return _send(self._admin(request), start_response)

        answer = self._answer(request, stream, environ)

        if answer is None:
            # The client sees a connection that ends without an answer.
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("closed by a fault")

        return _send(answer, start_response)

    def _answer(self, request: Request, stream: Any, environ: Environ) -> Answer | None:
        """Return what is answered, None if nothing is."""
        # The operation of all but S3 may be in the body.
        if request.service != "s3":
            request.body = _read(stream, request)

        self.calls.arrive(request.operation)
        fault = self.faults.of(request)

        if fault is not None and fault.kind == "cut_upload" and request.service == "s3":
            stream.read(int(request.headers.get("content-length", 0)) // 2)
            return None

        if request.service == "s3":
            request.body = _read(stream, request)

        return self._serve(request, environ) if fault is None else self._spoil(fault, request, environ)

    def _spoil(self, fault: Fault, request: Request, environ: Environ) -> Answer | None:
        error = refusal(request.service, *fault.error_of(request.service))

        if fault.kind in ("unreached", "cut_upload", "refused", "rate"):
            return error if fault.kind in ("refused", "rate") else None

        if fault.kind == "late":
            fault.wait()

        answer = self._serve(request, environ)

        if fault.kind == "slow":
            fault.wait()

        if fault.kind == "cut_answer":
            _send_half(answer, environ)

        return {"failed": error, "lost": None, "cut_answer": None}.get(fault.kind, answer)

    def _serve(self, request: Request, environ: Environ) -> Answer:
        operation = request.operation

        try:
            self._verify(request)
            answer = self._own(request) or self._moto(environ, request.body)
        except SignatureError as error:
            answer = refusal(request.service, error.code, error.message, error.status)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self.broken.append(f"{operation}: {error!r}")
            answer = refusal(request.service, "InternalFailure", f"the endpoint broke: {error!r}", 500)

        self.calls.reach(operation, answer.status)
        return answer


def _read(stream: Any, request: Request) -> bytes:
    if "transfer-encoding" in request.headers:
        return bytes(stream.read())

    return bytes(stream.read(int(request.headers.get("content-length", 0))))


def _send_half(answer: Answer, environ: Environ) -> None:
    """Write half of an answer, as it would have been."""
    head = f"HTTP/1.1 {answer.status} OK\r\nContent-Length: {len(answer.body)}\r\n\r\n".encode()
    environ["werkzeug.socket"].sendall(head + answer.body[: len(answer.body) // 2])


def _send(answer: Answer, start_response: Any) -> Iterable[bytes]:
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    kept = [value for name, value in answer.headers if name.lower() == "content-length"]
    # HEAD has the length of what it does not send.
    length = str(len(answer.body)) if answer.body or not kept else kept[0]
    start_response(f"{answer.status} -", [*headers, ("Content-Length", length)])
    return [answer.body]

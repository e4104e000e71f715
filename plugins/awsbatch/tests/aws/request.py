"""A request as it came over the wire: which operation of which service it is, and what it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .batch.protocol import operation_at
from .credentials import ROLE_PATH

_SUBRESOURCES = "acl cors encryption lifecycle location policy tagging versioning versions publicAccessBlock".split()

# What the agent of ECS is to a container.
CREDENTIALS = "ecs-agent"


@dataclass
class Request:
    """One request.

    Attributes:
        target: The path as it was sent, with nothing decoded.
        query: Its parameters, decoded.
    """

    method: str
    target: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    service: str = ""
    region: str = "us-east-1"

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Request:
        """Return the request of this WSGI environment, without its body."""
        target = environ.get("RAW_URI") or environ["REQUEST_URI"]
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }
        query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        request = cls(environ["REQUEST_METHOD"], target, query, headers)
        request._find_service()
        return request

    @property
    def path(self) -> str:
        """The path without the query, as it was sent."""
        return self.target.partition("?")[0]

    @property
    def operation(self) -> str:
        """Its name in the API: ``SubmitJob``, ``PutObject``."""
        if self.service == "s3":
            return _s3_operation(self)

        if self.service == CREDENTIALS:
            return "GetRoleCredentials"

        if target := self.headers.get("x-amz-target"):
            return target.rpartition(".")[2]

        if self.service == "batch":
            return operation_at(self.path)

        return dict(parse_qsl(self.body.decode(errors="replace"))).get("Action", "Unknown")

    def is_about(self, text: str) -> bool:
        """Whether its path or its body has this text in it."""
        return text in unquote(self.target) or (self.service != "s3" and text.encode() in self.body)

    def _find_service(self) -> None:
        if self.path.startswith(ROLE_PATH):
            self.service = CREDENTIALS
            return

        signed_by = self.query.get("X-Amz-Credential", "")

        if found := re.search(r"Credential=([^,\s]+)", self.headers.get("authorization", "")):
            signed_by = found[1]

        scope = signed_by.split("/")
        self.service, self.region = (scope[3], scope[2]) if len(scope) == 5 else ("s3", "us-east-1")


def _s3_operation(request: Request) -> str:
    bucket, _, key = unquote(request.path).strip("/").partition("/")
    method, query = request.method, request.query

    if "uploadId" in query:
        names = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return names.get(method, "ListParts")

    if "uploads" in query:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"

    for subresource in _SUBRESOURCES:
        if subresource in query:
            return f"{method.capitalize()}{'Object' if key else 'Bucket'}{subresource[0].upper()}{subresource[1:]}"

    if key:
        copied = "x-amz-copy-source" in request.headers
        names = {"PUT": "CopyObject" if copied else "PutObject", "POST": "PostObject"}
        return names.get(method, f"{method.capitalize()}Object")

    if not bucket:
        return "ListBuckets"

    names = {"PUT": "CreateBucket", "POST": "DeleteObjects", "DELETE": "DeleteBucket", "HEAD": "HeadBucket"}
    return names.get(method, "ListObjectsV2" if "list-type" in query else "ListObjects")

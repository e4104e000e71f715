"""Signature version 4, as AWS checks it: in a header, or in the query of a presigned URL."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import parse_qsl, quote, urlsplit

from .credentials import Key
from .request import Request

MOST_SKEW = 15 * 60
MOST_VALIDITY = 7 * 24 * 3600


class SignatureError(Exception):
    """A request that AWS would not believe."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True)
class _Signed:
    credential: str
    headers: list[str]
    signature: str
    date: str
    token: str | None
    valid_for: int | None


def check(request: Request, find_key: Callable[[str], Key | None]) -> None:
    """Check who sent a request.

    Raises:
        SignatureError: Nobody did whose key is known and alive, or it was changed on the way.
    """
    signed = _presigned(request) if "X-Amz-Signature" in request.query else _signed(request)
    key = _key(request, signed, find_key(signed.credential.partition("/")[0]))
    _check_time(signed)
    _check_headers(request, signed)
    _check_body(request)
    expected = _signature(request, signed, key)

    if not hmac.compare_digest(expected, signed.signature):
        code = "SignatureDoesNotMatch" if request.service == "s3" else "InvalidSignatureException"
        raise SignatureError(
            code,
            "The request signature we calculated does not match the signature you provided. Check your key and signing "
            f"method. The canonical request should have been {_canonical(request, signed)!r}",
        )


def _presigned(request: Request) -> _Signed:
    query = request.query

    try:
        valid_for = int(query.get("X-Amz-Expires", ""))
    except ValueError:
        valid_for = 0

    if not 1 <= valid_for <= MOST_VALIDITY:
        raise SignatureError(
            "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week (in seconds)", 400
        )

    return _Signed(
        query.get("X-Amz-Credential", ""),
        query.get("X-Amz-SignedHeaders", "").split(";"),
        query["X-Amz-Signature"],
        query.get("X-Amz-Date", ""),
        query.get("X-Amz-Security-Token"),
        valid_for,
    )


def _signed(request: Request) -> _Signed:
    authorization = request.headers.get("authorization", "")

    if "AWSAccessKeyId" in request.query or authorization.startswith("AWS "):
        text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        raise SignatureError("InvalidRequest", text, 400)

    parts = dict(re.findall(r"(\w+)=([^,\s]+)", authorization))

    if not {"Credential", "SignedHeaders", "Signature"} <= parts.keys():
        code = "AccessDenied" if request.service == "s3" else "MissingAuthenticationTokenException"
        raise SignatureError(code, "Access Denied: the request is not signed")

    return _Signed(
        parts["Credential"],
        parts["SignedHeaders"].split(";"),
        parts["Signature"],
        request.headers.get("x-amz-date", ""),
        request.headers.get("x-amz-security-token"),
        None,
    )


def _key(request: Request, signed: _Signed, key: Key | None) -> Key:
    on_s3 = request.service == "s3"

    if key is None:
        code = "InvalidAccessKeyId" if on_s3 else "UnrecognizedClientException"
        raise SignatureError(code, "The security token included in the request is invalid.")

    if key.token != signed.token:
        code = "InvalidToken" if on_s3 else "UnrecognizedClientException"
        raise SignatureError(code, "The security token included in the request is invalid.", 400 if on_s3 else 403)

    if key.has_expired:
        code = "ExpiredToken" if on_s3 else "ExpiredTokenException"
        raise SignatureError(code, "The provided token has expired.", 400 if on_s3 else 403)

    return key


def _check_time(signed: _Signed) -> None:
    try:
        signed_at = datetime.strptime(signed.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise SignatureError("AccessDenied", f"X-Amz-Date is no time: {signed.date!r}") from None

    age = (datetime.now(timezone.utc) - signed_at).total_seconds()

    if signed.valid_for is not None and age >= signed.valid_for:
        raise SignatureError("AccessDenied", "Request has expired")

    if age < -MOST_SKEW or (signed.valid_for is None and age > MOST_SKEW):
        raise SignatureError("RequestTimeTooSkewed", "The difference between the request time and ours is too large.")


def _check_headers(request: Request, signed: _Signed) -> None:
    """Refuse what would change the meaning of a request, and is not part of what was signed."""
    names = {name for name in request.headers if name.startswith("x-amz-") or name in ("host", "if-none-match")}

    if unsigned := sorted(names - set(signed.headers)):
        text = f"There were headers present in the request which were not signed: {', '.join(unsigned)}"
        raise SignatureError("AccessDenied", text)


def _check_body(request: Request) -> None:
    claimed = request.headers.get("x-amz-content-sha256", "")

    if re.fullmatch(r"[0-9a-f]{64}", claimed) and claimed != hashlib.sha256(request.body).hexdigest():
        raise SignatureError("XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not the hash of the body.", 400)


def _signature(request: Request, signed: _Signed, key: Key) -> str:
    scope = signed.credential.split("/")[1:]
    canonical = hashlib.sha256(_canonical(request, signed).encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", signed.date, "/".join(scope), canonical])
    derived = f"AWS4{key.secret_key}".encode()

    for part in scope:
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()

    return hmac.new(derived, to_sign.encode(), hashlib.sha256).hexdigest()


def _canonical(request: Request, signed: _Signed) -> str:
    path = request.path or "/"
    query = parse_qsl(urlsplit(request.target).query, keep_blank_values=True)
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query if k != "X-Amz-Signature")
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed.headers)
    unsigned = "UNSIGNED-PAYLOAD" if signed.valid_for is not None else hashlib.sha256(request.body).hexdigest()
    return "\n".join(
        [
            request.method,
            path if request.service == "s3" else quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            ";".join(signed.headers),
            request.headers.get("x-amz-content-sha256", unsigned),
        ]
    )

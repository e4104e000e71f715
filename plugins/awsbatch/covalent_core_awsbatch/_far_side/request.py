"""Requests to S3: by a presigned link, or signed with the credentials of the job's role (Signature Version 4)."""

import datetime as dt
import hashlib
import hmac
import json
import os
import urllib.parse
import urllib.request

#: Seconds before the credentials of a role end at which they are fetched anew.
EARLY = 300

_known = {}


def role():
    """Return the credentials of the job's role; they last some hours, and are fetched again in time."""
    now = dt.datetime.now(dt.timezone.utc)

    if not _known or now >= _known["until"]:
        url = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        url = url or "http://169.254.170.2" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
        token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        request = urllib.request.Request(url, headers={"Authorization": token} if token else {})
        # The address is one of this host alone: no proxy leads there.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        with opener.open(request, timeout=30) as answer:
            found = json.load(answer)

        end = dt.datetime.strptime(found["Expiration"][:19] + "+0000", "%Y-%m-%dT%H:%M:%S%z")
        _known.update(found, until=end - dt.timedelta(seconds=EARLY))

    return _known


def signature(method, url, region, headers):
    """Return the headers that sign a request; what is sent along is not part of it."""
    known = role()
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    parts = urllib.parse.urlsplit(url)
    signed = {name.lower(): value for name, value in headers.items() if name.lower() == "if-none-match"}
    signed.update({"host": parts.netloc, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now})
    signed["x-amz-security-token"] = known["Token"]
    names = ";".join(sorted(signed))
    lines = "".join("%s:%s\n" % (name, signed[name]) for name in sorted(signed))
    canonical = "\n".join([method, parts.path, parts.query, lines, names, "UNSIGNED-PAYLOAD"])
    scope = "/".join([now[:8], region, "s3", "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + known["SecretAccessKey"]).encode()

    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()

    named = "Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (known["AccessKeyId"], scope, names, key.hex())
    return dict(signed, Authorization="AWS4-HMAC-SHA256 " + named)


def copy(answer, file):
    """Write the body of an answer to a file, and see that it is all there.

    Raises:
        OSError: It was cut.
    """
    left = int(answer.headers["Content-Length"])

    while left:
        part = answer.read(min(left, 1 << 20))

        if not part:
            raise OSError("the answer was cut: %d bytes are missing" % left)

        file.write(part)
        left -= len(part)


def send(method, url, region="", body=None, headers=None, seconds=60):
    """Send a request and return its answer.

    Args:
        region: That of the bucket if the role is to sign it; empty if the link says who has.
        seconds: How long nothing may come.

    Raises:
        OSError: No answer has come, or it is an error: a `urllib.error.HTTPError` then.
    """
    headers = dict(headers or {})

    if body is not None:
        headers.setdefault("Content-Type", "application/octet-stream")

    if region:
        headers.update(signature(method, url, region, headers))

    return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=seconds)

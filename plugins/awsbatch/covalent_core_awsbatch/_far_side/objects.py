"""The objects of one job in S3, as the agent sees them."""

import contextlib
import io
import json
import os
import time
import urllib.error
import urllib.parse

from request import copy, send

#: Seconds for which something is sent again that S3 does not take, and where it says that it must not be sent.
PATIENCE, REFUSED_PATIENCE = 600.0, 60.0

REFUSALS = (400, 401, 403)


class NotDeliveredError(Exception):
    """Something could not be sent to S3 for too long."""


class Objects:
    """The objects of one job.

    Args:
        base: The address of its folder.
        region: That of the bucket if the job has a role, else empty.
        links: The address of the object that has presigned links, where there is no role.
    """

    def __init__(self, base, region, links):
        self._base = base
        self._region = region
        self._links = {"GET links": links}
        self._renewed = 0.0
        patiently(self.renew, "links", final=REFUSALS)

    def renew(self):
        """Take the newest links. They are made anew as long as the dispatcher lives."""
        if not self._region:
            self._links = json.loads(self.get("links"))
            self._renewed = time.monotonic()

    def renew_in_time(self, seconds):
        """Take the newest links where those at hand are older than that."""
        if not self._region and time.monotonic() - self._renewed > seconds:
            self.renew()

    def get(self, name):
        content = io.BytesIO()

        with self._send("GET", name) as answer:
            copy(answer, content)

        return content.getvalue()

    def download(self, name, path):
        """Bring an object into a file, for as long as it takes; that it is not there or refused is the last word."""

        def download_once():
            with self._send("GET", name) as answer, open(path, "wb") as file:
                copy(answer, file)

        patiently(download_once, name, final=REFUSALS)

    def delete(self, name):
        self._send("DELETE", name).close()

    def claim(self, name, owner):
        """Own the job unless somebody does; return who does."""

        def take():
            try:
                self._send("PUT", name, owner.encode(), {"If-None-Match": "*"}).close()
            except urllib.error.HTTPError as error:
                if error.code == 412:
                    return self.get(name).decode()

                # 409: somebody is taking it at this moment.
                raise

            return owner

        return patiently(take, name)

    def put(self, name, content):
        """Send bytes, for as long as it takes."""
        patiently(lambda: self._send("PUT", name, content).close(), name, self.renew)

    def put_once(self, name, content):
        """Send bytes; what cannot be sent now is not sent."""
        self._send("PUT", name, content).close()

    def put_file(self, name, path):
        """Send a file, for as long as it takes."""

        def send_file():
            with open(path, "rb") as file:
                # Without a length it would be sent in chunks, which S3 does not take.
                headers = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
                self._send("PUT", name, file, headers).close()

        patiently(send_file, name, self.renew)

    def _send(self, method, name, body=None, headers=None):
        if self._region:
            return send(method, self._base + urllib.parse.quote(name), self._region, body, headers)

        return send(method, self._links["%s %s" % (method, name)], "", body, headers)


def patiently(operation, what, mend=lambda: None, final=()):
    """Return what an operation gives, tried again while S3 cannot be reached or does not take it.

    Args:
        mend: Called before it is tried again.
        final: The status codes that are the last word, besides that there is no such object.

    Raises:
        HTTPError: One of these.
        NotDeliveredError: It was tried for too long.
    """
    began, pause = time.monotonic(), 0.5

    while True:
        try:
            return operation()
        except OSError as error:
            code = getattr(error, "code", 0)
            refused = code in REFUSALS

            if code == 404 or code in final:
                raise

            if time.monotonic() - began > (REFUSED_PATIENCE if refused else PATIENCE):
                raise NotDeliveredError("%s: %s: %s" % (what, type(error).__name__, error)) from error

        time.sleep(pause)
        pause = min(2 * pause, 15.0)

        # What is wrong is said by what it was to mend.
        with contextlib.suppress(OSError):
            mend()

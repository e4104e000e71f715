"""The start command: fetch the agent, make sure that it is the one that was sent, and run it."""

import hashlib
import io
import json
import os
import sys
import tempfile
import time

from request import copy, send

#: The exit codes that say what has kept a job from its start.
NO_AGENT, LINK_IS_DEAD = 82, 83


def fetch(order):
    """Return the agent, and what came before it; S3 may be out of reach for a moment."""
    wanted = {} if order["whole"] else {"Range": "bytes=%d-%d" % (order["begin"], order["begin"] + order["size"] - 1)}
    pauses = [1, 2, 4, 8]

    while True:
        try:
            content = io.BytesIO()

            with send("GET", order["url"], order["region"], headers=wanted) as answer:
                copy(answer, content)

            found = content.getvalue()
            return found[-order["size"] :], found[: -order["size"]]
        except (OSError, KeyError) as error:
            code = getattr(error, "code", 0)

            if code in (400, 401, 403) and not order["region"]:
                leave(LINK_IS_DEAD, "the link to the files of this job has expired or is refused: %s" % error)

            if code == 404:
                leave(NO_AGENT, "the files of this job are gone: nobody wants it any more")

            if not pauses:
                leave(NO_AGENT, "the files of this job cannot be had: %s: %s" % (type(error).__name__, error))

        time.sleep(pauses.pop(0))


def leave(code, words):
    sys.stderr.write("Covalent Core: %s\n" % words)
    sys.exit(code)


def start():
    order = json.loads(os.environ["COVALENT_CORE_START"])
    agent, lines = fetch(order)

    if hashlib.sha256(agent).hexdigest() != order["sha256"]:
        leave(NO_AGENT, "what came from S3 is not what was sent")

    file = tempfile.NamedTemporaryFile(prefix="covalent-agent-", delete=False)
    file.write(agent)
    file.close()
    # What is in the folder in which a container begins is not looked at.
    sys.path[0] = file.name
    # The agent sends requests as this does, with the credentials that are at hand.
    sys.modules["request"] = sys.modules["__main__"]
    # In this process, which is the one that signals come to; a second interpreter would be paid for.
    __import__("agent").main(order, lines)


start()

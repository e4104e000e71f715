"""What Amazon's container runs: it brings the bundle of a job here and mirrors the files of its runner to S3.

boto3 is there in every image that Braket can start: the program of Amazon's that calls `main` needs it itself. Nothing
else is taken from the image but Python 3.8. Amazon sends no signal before the container is gone, so orders are objects:
``orders/end`` ends the job, ``orders/cancel`` is a list of nodes of a pack that are to be ended.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional, Tuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: Seconds between two looks at the files and the orders, at first and at last.
LOOK_PAUSES = (0.1, 1.0)

#: Seconds for which it is tried to bring the last files to S3.
PATIENCE = 600.0

#: How much of what a task writes is shown while it runs: the end of it.
OUTPUT_BYTES = 64 * 1024

#: What has gone wrong on the way to S3, and may be over in a moment.
AWAY = (BotoCoreError, ClientError, OSError)


def main() -> None:
    with open(os.path.join(os.path.dirname(__file__), "settings.json")) as file:
        settings = json.load(file)

    objects = Objects(os.environ["AMZN_BRAKET_SCRIPT_S3_URI"], settings["region"])
    ticket = settings["ticket"]
    owner = objects.take(f"results/{ticket}.process", os.environ["AMZN_BRAKET_JOB_ARN"])

    if owner != os.environ["AMZN_BRAKET_JOB_ARN"]:
        print(f"nothing is run: {ticket} belongs to {owner}")
        return

    with tempfile.TemporaryDirectory(prefix=f"{ticket}-") as folder:
        objects.download("bundle.pyz", os.path.join(folder, "bundle.pyz"))
        status = Job(objects, folder, ticket, settings["time_limit"]).run()

    if status != 0:
        raise RuntimeError(f"the runner has ended with status {status}")


class Objects:
    """The folder of the job in S3."""

    def __init__(self, uri: str, region: str) -> None:
        self._bucket, _, key = uri[len("s3://") :].partition("/")
        self._folder = key.rpartition("/")[0]
        config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})
        self._s3 = boto3.client("s3", region_name=region, config=config)

    def take(self, name: str, owner: str) -> str:
        """Take what can be taken once, and return whose it is."""
        deadline = time.monotonic() + PATIENCE

        while True:
            try:
                self.put(name, owner.encode(), IfNoneMatch="*")
                return owner
            except ClientError as error:
                code = error.response["Error"]["Code"]

                if code in ("PreconditionFailed", "412"):
                    return self.get(name).decode()

                # Another one takes it at this moment.
                if code != "ConditionalRequestConflict" or time.monotonic() > deadline:
                    raise

    def put(self, name: str, content: bytes, **condition: str) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=f"{self._folder}/{name}", Body=content, **condition)

    def get(self, name: str) -> bytes:
        answer = self._s3.get_object(Bucket=self._bucket, Key=f"{self._folder}/{name}")
        content: bytes = answer["Body"].read()
        return content

    def upload(self, path: str, name: str) -> None:
        self._s3.upload_file(path, self._bucket, f"{self._folder}/{name}")

    def download(self, name: str, path: str) -> None:
        self._s3.download_file(self._bucket, f"{self._folder}/{name}", path)

    def orders(self) -> Dict[str, str]:
        """Return the orders that are there, and what tells each from one before it."""
        answer = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._folder}/orders/")
        return {found["Key"].rpartition("/")[2]: found["ETag"] for found in answer.get("Contents", [])}


class Job:
    """A runner, its files and the orders to it."""

    def __init__(self, objects: Objects, folder: str, ticket: str, time_limit: float) -> None:
        self._objects = objects
        self._results = os.path.join(folder, "results")
        self._ticket = ticket
        self._sent: Dict[str, Tuple[int, int]] = {}
        self._followed: Dict[str, str] = {}
        deadline = str(time.time() + time_limit)
        environment = {**os.environ, "COVALENT_CORE_SUPERVISOR": ticket, "COVALENT_CORE_DEADLINE": deadline}
        self._runner = subprocess.Popen(
            [sys.executable, "bundle.pyz"], cwd=folder, env=environment, stdin=subprocess.DEVNULL
        )
        # Who is told to end by a signal after all, passes it on.
        signal.signal(signal.SIGTERM, lambda signum, frame: self._runner.terminate())

    def run(self) -> int:
        """Return the status of the runner when it has ended and all that it has left is in S3."""
        pause, longest = LOOK_PAUSES

        while self._runner.poll() is None:
            time.sleep(pause)
            pause = LOOK_PAUSES[0] if self._look() else min(pause * 1.3, longest)

        self._finish()
        return int(self._runner.returncode)

    def _look(self) -> bool:
        """Bring to S3 what is new, and follow what is ordered; return whether there was anything."""
        try:
            # Orders first: what they make an end of is then seen in the same look, or the next.
            followed = self._follow(self._objects.orders())
            return self._send(last=False) or followed
        except AWAY as error:
            print(f"S3 cannot be used now: {error}")
            return False

    def _finish(self) -> None:
        deadline = time.monotonic() + PATIENCE

        while True:
            try:
                self._send(last=True)
                return
            except AWAY as error:
                print(f"the results cannot be brought to S3: {error}")

                if time.monotonic() > deadline:
                    raise

                time.sleep(LOOK_PAUSES[1])

    def _follow(self, orders: Dict[str, str]) -> bool:
        new = {name: tag for name, tag in orders.items() if self._followed.get(name) != tag}

        if "end" in new:
            self._leave("order", self._objects.get("orders/end"))
            self._runner.terminate()

        if "cancel" in new:
            self._leave("cancel", self._objects.get("orders/cancel"))

        self._followed.update(new)
        return bool(new)

    def _leave(self, name: str, content: bytes) -> None:
        """Leave an order where the runner looks for it, which may not have begun: it finds it then."""
        os.makedirs(self._results, exist_ok=True)
        path = os.path.join(self._results, f"{self._ticket}.{name}")

        with open(f"{path}.part", "wb") as file:
            file.write(content)

        os.rename(f"{path}.part", path)

    def _send(self, last: bool) -> bool:
        """Bring what has changed to S3: an outcome after its value, and the word that all is over after all else."""
        names = self._names()
        ended = [name for name in names if name.endswith(".ended")]
        outcomes = [name for name in names if name.endswith(".outcome")]
        written = [name for name in names if name.endswith((".stdout", ".stderr"))]
        sent = False

        for name in written:
            sent = self._send_output(name) or sent

        for name in outcomes:
            sent = self._send_outcome(name) or sent

        if last and ended:
            self._objects.put(f"results/{ended[0]}", os.readlink(os.path.join(self._results, ended[0])).encode())

        return sent

    def _names(self) -> List[str]:
        try:
            return sorted(name for name in os.listdir(self._results) if name.startswith(f"{self._ticket}."))
        except FileNotFoundError:
            return []

    def _send_output(self, name: str) -> bool:
        path = os.path.join(self._results, name)
        found = self._changed(name, path)

        if found is None:
            return False

        with open(path, "rb") as file:
            file.seek(max(0, found[0] - OUTPUT_BYTES))
            self._objects.put(f"results/{name}", file.read(OUTPUT_BYTES))

        self._sent[name] = found
        return True

    def _send_outcome(self, name: str) -> bool:
        path = os.path.join(self._results, name)
        found = self._changed(name, path)

        if found is None:
            return False

        value = name[: -len(".outcome")] + ".value"

        if os.path.exists(os.path.join(self._results, value)):
            self._objects.upload(os.path.join(self._results, value), f"results/{value}")

        self._objects.upload(path, f"results/{name}")
        self._sent[name] = found
        return True

    def _changed(self, name: str, path: str) -> Optional[Tuple[int, int]]:
        """Return what a file is like now, None if it is as it was sent."""
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            return None

        found = (stat.st_size, stat.st_mtime_ns)
        return None if self._sent.get(name, (0, found[1])) == found else found

"""The folder of a job in S3: what goes there, what its agent leaves there, and who owns the job."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from anyio import sleep

from covalent_core import Job
from covalent_core.backend import FOLDER, NOBODY, PROCESS
from covalent_core_braket._account import Account
from covalent_core_braket._refusals import DeniedError, NotThereError
from covalent_core_braket.errors import BraketError, BraketUnreachableError

#: Seconds for which two who take the same thing at the same moment are asked to try again.
CONFLICT_SECONDS = 20.0

#: What can be deleted with one request.
DELETED_AT_ONCE = 1000


class Storage:
    """A bucket of the user's; nothing is created but objects below one prefix."""

    def __init__(self, account: Account, bucket: str, prefix: str) -> None:
        self.account = account
        self.bucket = bucket
        self._prefix = prefix.strip("/")
        self._checked = False

    def location(self, job: Job) -> str:
        """Return where the files of a job are, whether they are there or not."""
        return f"s3://{self.bucket}/{self._prefix}/{job.ticket}" if self._prefix else f"s3://{self.bucket}/{job.ticket}"

    async def check(self) -> None:
        """See to it that the bucket is there and in the region of the account.

        Raises:
            BraketError: It is not.
        """
        if self._checked:
            return

        region = await self.account.region()

        try:
            answer = await self.account.ask("s3", "GetBucketLocation", Bucket=self.bucket)
        except NotThereError as error:
            raise BraketError(
                f"there is no bucket {self.bucket!r}; create it in {region}, nothing is created"
            ) from error

        except DeniedError:
            # Who may not ask may use it all the same.
            return

        # The oldest region has no name here.
        found = answer.get("LocationConstraint") or "us-east-1"

        if found != region:
            raise BraketError(
                f"the bucket {self.bucket!r} is in {found} and the jobs are to run in {region}; both must be the same"
            )

        self._checked = True

    def folder(self, location: str) -> Folder:
        """Return the folder at a location."""
        bucket, _, key = location[len("s3://") :].partition("/")
        return Folder(self.account, bucket, key)


class Folder:
    """The objects of one job."""

    def __init__(self, account: Account, bucket: str, key: str) -> None:
        self._account = account
        self.bucket = bucket
        self.key = key

    def at(self, bucket: str, key: str) -> Folder:
        """Return another folder of the same account."""
        return Folder(self._account, bucket, key)

    async def put(self, name: str, content: bytes, **condition: str) -> None:
        """Write an object; small ones only."""
        await self._account.ask("s3", "PutObject", Bucket=self.bucket, Key=self._key(name), Body=content, **condition)

    async def upload(self, name: str, content: bytes | memoryview, job: Job) -> None:
        """Write an object, in parts where it is large; who is told that the job is cancelled gives it up."""
        if len(content) < 8 * 2**20:
            await self.put(name, bytes(content))
            return

        s3, sent = await self._account.client("s3"), 0

        def progress(count: int) -> None:
            nonlocal sent
            sent += count
            job.report_progress(sent, len(content))
            job.raise_if_cancel_requested()

        call = partial(s3.upload_fileobj, BytesIO(content), self.bucket, self._key(name), Callback=progress)
        await self._account.do(call, "PutObject")

    async def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            FileNotFoundError: There is none.
        """
        s3 = await self._account.client("s3")

        def read() -> bytes:
            content: bytes = s3.get_object(Bucket=self.bucket, Key=self._key(name))["Body"].read()
            return content

        try:
            content: bytes = await self._account.do(read, "GetObject")
            return content
        except NotThereError as error:
            raise FileNotFoundError(f"s3://{self.bucket}/{self._key(name)}") from error

    async def download(self, name: str, target: Path) -> None:
        """Bring an object to a path.

        Raises:
            FileNotFoundError: There is none.
        """
        s3 = await self._account.client("s3")

        try:
            await self._account.do(
                partial(s3.download_file, self.bucket, self._key(name), str(target)), "GetObject (download)"
            )
        except NotThereError as error:
            raise FileNotFoundError(f"s3://{self.bucket}/{self._key(name)}") from error

    async def files(self, job: Job) -> Mapping[str, tuple[int, str]]:
        """Return what the agent has left: what follows the ticket in the names, with size and tag."""
        beginning = self._key(f"{FOLDER}/{job.ticket}")
        found = await self._list(f"{beginning}.")
        return {entry["Key"][len(beginning) :]: (entry["Size"], entry["ETag"]) for entry in found}

    async def result(self, job: Job, name: str) -> bytes:
        """Return a file that the agent has left, by what follows the ticket in its name."""
        return await self.get(f"{FOLDER}/{job.ticket}{name}")

    # --- who owns the job --------------------------------------------------------------------------------------------

    async def owner(self, job: Job) -> str | None:
        """Return who runs the job; None if nobody has begun, `NOBODY` if nobody ever will."""
        with suppress(FileNotFoundError):
            return (await self.result(job, PROCESS)).decode()

        return None

    async def bar(self, job: Job) -> str | None:
        """See to it that the job never begins, if it has not: return None if so, or who has begun."""
        deadline = time.monotonic() + CONFLICT_SECONDS

        while time.monotonic() < deadline:
            try:
                await self.put(f"{FOLDER}/{job.ticket}{PROCESS}", NOBODY.encode(), IfNoneMatch="*")
                return None
            except BraketError as error:
                if (owner := await self.owner(job)) is not None:
                    return None if owner == NOBODY else owner

                if "ConditionalRequestConflict" not in str(error):
                    raise

            await sleep(0.2)

        raise BraketUnreachableError(f"somebody else takes {self.key} again and again")

    # --- orders ------------------------------------------------------------------------------------------------------

    async def order_end(self, job: Job) -> None:
        """Tell the agent to end the job."""
        said = {"reason": job.cancel_reason, "grace": job.cancel_grace}
        await self.put("orders/end", json.dumps(said).encode())

    async def order_members(self, node_ids: list[int]) -> None:
        """Tell the agent to end some nodes of a pack, besides those of orders before."""
        ordered = set(node_ids)

        with suppress(FileNotFoundError):
            ordered |= set(json.loads(await self.get("orders/cancel")))

        await self.put("orders/cancel", json.dumps(sorted(ordered)).encode())

    # --- the end -----------------------------------------------------------------------------------------------------

    async def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        await self._account.ask("s3", "DeleteObject", Bucket=self.bucket, Key=self._key(name))

    async def remove(self) -> None:
        """Remove all that is in the folder, parts of uploads that came to no end too."""
        request = {"Bucket": self.bucket, "Prefix": f"{self.key}/"}

        for upload in (await self._account.ask("s3", "ListMultipartUploads", **request)).get("Uploads", []):
            part = {"Bucket": self.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}

            with suppress(NotThereError):
                await self._account.ask("s3", "AbortMultipartUpload", **part)

        keys = [{"Key": entry["Key"]} for entry in await self._list(f"{self.key}/")]

        for place in range(0, len(keys), DELETED_AT_ONCE):
            some = {"Objects": keys[place : place + DELETED_AT_ONCE], "Quiet": True}
            answer = await self._account.ask("s3", "DeleteObjects", Bucket=self.bucket, Delete=some)

            if failed := answer.get("Errors"):
                raise BraketUnreachableError(f"s3://{self.bucket}/{failed[0]['Key']} stays: {failed[0]['Message']}")

    async def _list(self, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page: dict[str, str] = {}

        while True:
            answer = await self._account.ask("s3", "ListObjectsV2", Bucket=self.bucket, Prefix=prefix, **page)
            found += answer.get("Contents", [])

            if not answer.get("IsTruncated"):
                return found

            page = {"ContinuationToken": answer["NextContinuationToken"]}

    def _key(self, name: str) -> str:
        return f"{self.key}/{name}"

"""The objects of jobs in S3. Each job has a folder of its own, and its location is the address of that."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from botocore.exceptions import ClientError

from covalent_core.backend import Claim
from covalent_core_awsbatch._answers import code_of, is_missing
from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch.errors import BatchRefusedError

#: How many objects S3 deletes at once.
MOST_DELETED = 1000

#: How often what is left of unfinished uploads is aborted again: a part in flight may come after the abort.
ABORTS = 5

#: How often a claim is tried again that S3 does not take because somebody else is making one.
CONFLICTS = 5

#: The beginning of the name of the object that says to whom a job belongs; the number of its order follows.
OWNER = "owner."


@dataclass(frozen=True)
class Folder:
    """A folder in a bucket; as text it is a location: ``s3://<bucket>/<prefix>``."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, location: str) -> Folder:
        """Return the folder of a location."""
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def name(self) -> str:
        """Its own name: the ticket of its job, or the name of an array."""
        return self.prefix.rpartition("/")[2]

    @property
    def siblings(self) -> str:
        """What the prefixes of all folders of its dispatch begin with."""
        above, _, name = self.prefix.rpartition("/")
        return f"{above}/{'-'.join(name.split('-')[:2])}-"

    def beside(self, name: str) -> Folder:
        """Return a folder of another name in the same place."""
        return Folder(self.bucket, f"{self.prefix.rpartition('/')[0]}/{name}")

    def key(self, name: str) -> str:
        """Return the key of an object in it."""
        return f"{self.prefix}/{name}"


class Seen(NamedTuple):
    """What a list says of an object.

    Attributes:
        mark: Changes when its content does.
        modified: When it was written last, in seconds since 1970.
    """

    size: int
    mark: str
    modified: float


class Objects:
    """The objects of all jobs of an account."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._addresses: dict[str, str] = {}

    async def put(self, folder: Folder, name: str, content: bytes, *, ending: bool = False) -> None:
        """Write an object."""

        def put() -> None:
            self._service.s3.put_object(Bucket=folder.bucket, Key=folder.key(name), Body=content)

        await self._service.run(put, f"PutObject s3://{folder.bucket}/{folder.key(name)}", ending=ending)

    async def upload(self, folder: Folder, name: str, content: memoryview, report: Callable[[int], None]) -> None:
        """Write a large object, in parts.

        Args:
            report: Is told how many more bytes have gone; what it raises ends the upload.
        """

        def upload() -> None:
            file = io.BufferedReader(_View(content))
            self._service.s3.upload_fileobj(file, folder.bucket, folder.key(name), Callback=report)

        await self._service.run(upload, f"PutObject s3://{folder.bucket}/{folder.key(name)}")

    async def get(self, folder: Folder, name: str) -> bytes:
        """Return what is in an object.

        Raises:
            FileNotFoundError: There is none.
        """

        def get() -> bytes | None:
            try:
                answer = self._service.s3.get_object(Bucket=folder.bucket, Key=folder.key(name))
                return cast(bytes, answer["Body"].read())
            except ClientError as error:
                if is_missing(error):
                    return None

                raise

        content = await self._service.run(get, f"GetObject s3://{folder.bucket}/{folder.key(name)}")

        if content is None:
            raise FileNotFoundError(folder.key(name))

        return content

    async def download(self, folder: Folder, name: str, target: Path) -> None:
        """Bring an object into a file.

        Raises:
            FileNotFoundError: There is none.
        """

        def download() -> bool:
            try:
                answer = self._service.s3.get_object(Bucket=folder.bucket, Key=folder.key(name))

                with target.open("wb") as file:
                    for chunk in answer["Body"].iter_chunks(1 << 20):
                        file.write(chunk)
            except ClientError as error:
                if is_missing(error):
                    return False

                raise

            return True

        if not await self._service.run(download, f"GetObject s3://{folder.bucket}/{folder.key(name)}"):
            raise FileNotFoundError(folder.key(name))

    async def list(self, bucket: str, prefix: str) -> dict[str, Seen]:
        """Return all objects whose keys begin with a prefix."""

        def list_all() -> dict[str, Seen]:
            pages = self._service.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            found = [entry for page in pages for entry in page.get("Contents", ())]
            return {
                entry["Key"]: Seen(entry["Size"], entry["ETag"], entry["LastModified"].timestamp()) for entry in found
            }

        return await self._service.run(list_all, f"ListObjectsV2 s3://{bucket}/{prefix}")

    async def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Remove objects.

        Raises:
            BatchRefusedError: One of them cannot be removed.
        """
        for begin in range(0, len(keys), MOST_DELETED):
            part = {"Objects": [{"Key": key} for key in keys[begin : begin + MOST_DELETED]], "Quiet": True}
            delete = partial(self._service.s3.delete_objects, Bucket=bucket, Delete=part)
            answer = await self._service.run(delete, f"DeleteObjects s3://{bucket}")

            for error in answer.get("Errors", ()):
                said = f"{error.get('Code')}: {error.get('Message')}"
                message = f"AWS answered to DeleteObjects s3://{bucket}/{error.get('Key')}: {said}"
                raise BatchRefusedError(message, code=str(error.get("Code")))

    async def abort_uploads(self, bucket: str, prefix: str, names: Collection[str]) -> None:
        """Abort the uploads that whoever began them has not finished; their parts are in no list of objects.

        Args:
            names: The folders that it is about, of those below the prefix.
        """

        def abort() -> int:
            s3 = self._service.s3
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
            uploads = [upload for page in pages for upload in page.get("Uploads", ())]
            found = [upload for upload in uploads if upload["Key"].split("/")[-2] in names]

            for upload in found:
                try:
                    s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                except ClientError as error:
                    if not is_missing(error):
                        raise

            return len(found)

        for _ in range(ABORTS):
            if not await self._service.run(abort, f"ListMultipartUploads s3://{bucket}/{prefix}"):
                return

    async def bar(self, folder: Folder, order: int) -> str | None:
        """See to it that no job of an order begins; return None if so, or the id of the one that has begun."""
        claim = Claim(partial(self._take, folder.bucket, folder.key(f"{OWNER}{order}")))
        owner = await self._service.run(claim.bar, f"PutObject {folder}/{OWNER}{order}", ending=True)
        return None if owner is None else owner.split()[0]

    def address(self, folder: Folder, name: str) -> str:
        """Return where an object is, for who signs for himself."""
        if folder.bucket not in self._addresses:
            s3 = self._service.s3
            link = s3.generate_presigned_url("get_object", Params={"Bucket": folder.bucket, "Key": "x"}, ExpiresIn=60)
            self._addresses[folder.bucket] = str(link).partition("?")[0][:-1]

        return self._addresses[folder.bucket] + quote(folder.key(name))

    def _take(self, bucket: str, key: str, owner: str) -> str:
        for last in (*[False] * CONFLICTS, True):
            try:
                self._service.s3.put_object(Bucket=bucket, Key=key, Body=owner.encode(), IfNoneMatch="*")
                return owner
            except ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412"):
                    return str(self._service.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

                # Somebody else is taking it at this moment.
                if last or code_of(error) != "ConditionalRequestConflict":
                    raise

        raise AssertionError("the last attempt has an end")


def by_folder(objects: Mapping[str, Seen], prefix: str) -> dict[str, dict[str, Seen]]:
    """Return a list of objects as folders, each with the names in it.

    Args:
        prefix: What all their keys begin with.
    """
    above = prefix.rpartition("/")[0]
    found: dict[str, dict[str, Seen]] = {}

    for key, seen in objects.items():
        folder, _, name = key[len(above) + 1 :].partition("/")
        found.setdefault(folder, {})[name] = seen

    return found


def owners(names: Iterable[str]) -> list[int]:
    """Return the orders of which somebody has won or barred the job."""
    return sorted(int(name[len(OWNER) :]) for name in names if name.startswith(OWNER))


class _View(io.RawIOBase):
    """What lies in memory, or in a file that is mapped there, as a file; it is not copied."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self._content)}[whence]
        self._place = begin + offset
        return self._place

"""Where things are on this machine: the store, the jobs' files and the configuration of one user."""

from __future__ import annotations

import os
import pwd
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from covalent_core.errors import ExecutorOptionError, StoreError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: File systems on which SQLite's write-ahead log is not safe, because its shared memory is not shared between hosts
#: or its locks are not reliable (https://www.sqlite.org/wal.html, "All processes using a database must be on the
#: same host computer").
NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs lustre gpfs beegfs ceph glusterfs afs pvfs2 panfs 9p fuse.sshfs fuse.glusterfs "
    "fuse.ceph fuse.ceph-fuse wekafs dvs fuse.s3fs fuse.gcsfuse fuse.rclone".split()
)


@dataclass(frozen=True)
class Home:
    """The folder of one store and everything beside it."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "store.sqlite"

    @property
    def values(self) -> Path:
        return self.folder / "values"

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def fetched(self) -> Path:
        return self.folder / "fetched"

    @property
    def lock(self) -> Path:
        return self.folder / "dispatcher.lock"

    @property
    def bell(self) -> Path:
        return self.folder / "bell"

    @property
    def log(self) -> Path:
        return self.folder / "dispatcher.log"

    def create(self) -> None:
        """Make the folder, and see to it that nobody but its user can read or write in it.

        Raises:
            StoreError: The folder is somebody else's, cannot be made, or is on a network file system; or this is not
                Linux.
        """
        if sys.platform != "linux":
            raise StoreError(f"Covalent Core runs on Linux, and this is {sys.platform}")

        refuse_network_file_system(self.folder, Path("/proc/self/mountinfo").read_text())

        for folder in (self.folder, self.values, self.jobs):
            make_private(folder)


def make_private(folder: Path) -> None:
    """Make a folder that belongs to this user alone, or make the one that is there so.

    What is in it are pickles and programs: who can write there, runs code as this user.

    Raises:
        StoreError: It cannot be made, or it is somebody else's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The link first: whose it is decides where it leads to tomorrow.
        refuse_owner_of(folder, folder.lstat())
        found = folder.stat()
        refuse_owner_of(folder, found)

        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} of the store cannot be made: {error.strerror}; "
            "name another with COVALENT_CORE_HOME, or remove what is there"
        ) from error


def refuse_owner_of(folder: Path, found: os.stat_result) -> None:
    """Raise if a folder, or a link to one, belongs to somebody else.

    Raises:
        StoreError: It does.
    """
    if found.st_uid != os.geteuid():
        kind = "link" if stat.S_ISLNK(found.st_mode) else "folder"
        raise StoreError(
            f"the {kind} {folder} belongs to {user_name(found.st_uid)} and you are {user_name(os.geteuid())}: who owns "
            "it could run code as you; name a folder of your own with: export COVALENT_CORE_HOME=<folder>"
        )


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file that only its user can read, and so lock, from now on; it is made if it is not there."""
    opened = open(file, mode, opener=lambda path, flags: os.open(path, flags | os.O_CREAT, 0o600))
    os.fchmod(opened.fileno(), 0o600)
    return opened


def find_home() -> Home:
    """Return the home that the environment says: COVALENT_CORE_HOME, or the user's data directory."""
    explicit = os.environ.get("COVALENT_CORE_HOME")

    if explicit:
        return Home(Path(explicit).expanduser().absolute())

    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    # A relative path there is invalid and ignored, as the XDG specification says.
    return Home((data if data.is_absolute() else Path.home() / ".local" / "share") / "covalent-core")


def read_configuration() -> dict[str, Any]:
    """Return the user's ``config.toml``, empty where there is none.

    Raises:
        ExecutorOptionError: The file is not TOML.
    """
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    file = Path(os.environ.get("COVALENT_CORE_CONFIG") or Path(folder) / "covalent-core" / "config.toml")

    try:
        return tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExecutorOptionError(f"{file} is not valid TOML: {error}") from error


def refuse_network_file_system(folder: Path, mountinfo: str) -> None:
    """Raise if `folder` is on a network file system, according to the text of ``/proc/self/mountinfo``.

    Raises:
        StoreError: It is; the message says where to put the store instead.
    """
    kind = file_system_of(folder.resolve(), mountinfo)

    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"the store cannot be in {folder}: that is a network file system ({kind}), where several hosts would "
            "corrupt it; name a folder of yours on a disk of this host (df --local lists them): "
            "export COVALENT_CORE_HOME=<folder>"
        )


def file_system_of(folder: Path, mountinfo: str) -> str:
    """Return the type of the file system that holds `folder`: that of the deepest, latest mount above it."""
    best, kind = -1, ""

    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split()[4]))

        if (folder == mount or mount in folder.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), right.split()[0]

    return kind

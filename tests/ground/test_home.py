"""Where the store and the configuration are, and on which file systems the store must not be."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from covalent_core._home import (
    NETWORK_FILE_SYSTEMS,
    Home,
    file_system_of,
    find_home,
    open_private,
    read_configuration,
    refuse_network_file_system,
)
from covalent_core._lock import take_lock
from covalent_core.errors import ExecutorOptionError, StoreError

#: The id of a user of whom nobody has heard.
OTHER = 54321

LOCAL_ROOT = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"
NFS_ROOT = "21 1 0:20 / / rw,relatime shared:1 - nfs4 server:/root rw,vers=4.2"


def mounts(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def mount(point: str, kind: str, *, optional: str = "shared:2 ") -> str:
    return f"30 21 0:30 / {point} rw,relatime {optional}- {kind} source rw,addr=10.0.0.1"


# --- file systems ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "cifs", "fuse.sshfs"])
def test_network_file_system_is_found_and_refused(kind: str) -> None:
    text = mounts(LOCAL_ROOT, mount("/net", kind))

    assert file_system_of(Path("/net/user/store"), text) == kind
    assert file_system_of(Path("/net"), text) == kind

    with pytest.raises(StoreError) as caught:
        refuse_network_file_system(Path("/net/user/store"), text)

    assert str(caught.value) == (
        f"the store cannot be in /net/user/store: that is a network file system ({kind}), where several hosts would "
        "corrupt it; name a folder of yours on a disk of this host (df --local lists them): "
        "export COVALENT_CORE_HOME=<folder>"
    )


@pytest.mark.parametrize("kind", sorted(NETWORK_FILE_SYSTEMS))
def test_every_network_file_system_is_refused(kind: str) -> None:
    with pytest.raises(StoreError, match="network file system"):
        refuse_network_file_system(Path("/net/x"), mounts(LOCAL_ROOT, mount("/net", kind)))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse.fuse-overlayfs"])
def test_local_file_system_is_accepted(kind: str) -> None:
    text = mounts(NFS_ROOT, mount("/disk", kind))
    refuse_network_file_system(Path("/disk/x"), text)

    assert file_system_of(Path("/disk/x"), text) == kind


def test_local_disk_over_a_network_root_is_accepted_and_the_rest_is_not() -> None:
    text = mounts(NFS_ROOT, mount("/var/tmp", "xfs"))
    refuse_network_file_system(Path("/var/tmp/store"), text)

    with pytest.raises(StoreError, match=r"\(nfs4\)"):
        refuse_network_file_system(Path("/var/store"), text)


def test_deepest_mount_counts_in_whatever_order_they_stand() -> None:
    lines = [LOCAL_ROOT, mount("/net", "nfs4"), mount("/net/scratch", "lustre"), mount("/net/scratch/disk", "xfs")]

    for text in (mounts(*lines), mounts(*reversed(lines))):
        assert file_system_of(Path("/net/scratch/disk/x"), text) == "xfs"
        assert file_system_of(Path("/net/scratch/x"), text) == "lustre"
        assert file_system_of(Path("/net/x"), text) == "nfs4"
        assert file_system_of(Path("/x"), text) == "ext4"


def test_later_mount_hides_an_earlier_one_at_the_same_place() -> None:
    text = mounts(LOCAL_ROOT, mount("/home", "autofs"), mount("/home", "nfs4"))

    assert file_system_of(Path("/home/user"), text) == "nfs4"


def test_folder_whose_name_only_begins_like_a_mount_is_not_on_it() -> None:
    assert file_system_of(Path("/network/x"), mounts(LOCAL_ROOT, mount("/net", "nfs4"))) == "ext4"


@pytest.mark.parametrize(
    ("escaped", "folder"),
    [
        (r"/my\040net", "/my net"),
        (r"/a\011b", "/a\tb"),
        (r"/back\134slash", "/back\\slash"),
        (r"/back\134040", "/back\\040"),
    ],
)
def test_escaped_characters_of_a_mount(escaped: str, folder: str) -> None:
    text = mounts(LOCAL_ROOT, mount(escaped, "cifs"))

    assert file_system_of(Path(folder) / "store", text) == "cifs"


def test_mount_whose_name_is_not_ascii() -> None:
    assert file_system_of(Path("/données/store"), mounts(LOCAL_ROOT, mount("/données", "nfs4"))) == "nfs4"


@pytest.mark.parametrize("optional", ["", "shared:2 ", "shared:2 master:1 propagate_from:3 "])
def test_any_number_of_optional_fields(optional: str) -> None:
    assert file_system_of(Path("/net/x"), mounts(LOCAL_ROOT, mount("/net", "nfs4", optional=optional))) == "nfs4"


def test_link_to_a_network_file_system_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "net"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    text = mounts(LOCAL_ROOT, mount(str(real.resolve()), "nfs4"))

    with pytest.raises(StoreError, match=r"link/store: that is a network file system \(nfs4\)"):
        refuse_network_file_system(tmp_path / "link" / "store", text)


def test_real_mounts_of_this_host_can_be_read() -> None:
    assert file_system_of(Path("/proc"), Path("/proc/self/mountinfo").read_text()) == "proc"


# --- the home ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COVALENT_CORE_HOME", "COVALENT_CORE_CONFIG", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    monkeypatch.setenv("HOME", str(tmp_path / "user"))


def test_home_is_in_the_users_data_by_default(tmp_path: Path) -> None:
    assert find_home() == Home(tmp_path / "user" / ".local" / "share" / "covalent-core")


def test_home_follows_xdg_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    assert find_home() == Home(tmp_path / "data" / "covalent-core")


def test_covalent_core_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COVALENT_CORE_HOME", str(tmp_path / "explicit"))

    assert find_home() == Home(tmp_path / "explicit")


@pytest.mark.parametrize("name", ["XDG_DATA_HOME", "COVALENT_CORE_HOME"])
def test_empty_variable_is_like_none(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")

    assert find_home() == Home(tmp_path / "user" / ".local" / "share" / "covalent-core")


def test_covalent_core_home_may_be_relative_or_begin_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVALENT_CORE_HOME", "here")
    assert find_home() == Home(tmp_path / "here")

    monkeypatch.setenv("COVALENT_CORE_HOME", "~/there")
    assert find_home() == Home(tmp_path / "user" / "there")


def test_home_does_not_depend_on_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "data")

    assert find_home().folder.is_absolute()


def test_home_is_created_for_its_user_alone(tmp_path: Path) -> None:
    made = Home(tmp_path / "a" / "b")
    made.create()
    made.create()

    for folder in (made.folder, made.values, made.jobs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def as_another_user(*steps: Callable[[], object]) -> str:
    """Take these steps as a user without rights, and return the error of the last one that raises, or nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    reading, writing = os.pipe()
    child = os.fork()

    if child == 0:
        error = ""

        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)

            for step in steps:
                step()
        except BaseException as caught:
            error = f"{type(caught).__name__}: {caught}"
        finally:
            os.write(writing, error.encode())
            os._exit(0)

    os.close(writing)
    os.waitpid(child, 0)

    with open(reading) as file:
        return file.read()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder like /tmp: everybody can write there, and reach it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)


def test_a_home_that_somebody_else_has_made_is_not_used(shared: Path) -> None:
    taken = shared / "taken"
    taken.mkdir()
    taken.chmod(0o777)
    error = as_another_user(Home(taken).create)

    assert error == (
        f"StoreError: the folder {taken} belongs to root and you are user {OTHER}: who owns it could run code as you; "
        "name a folder of your own with: export COVALENT_CORE_HOME=<folder>"
    )
    assert list(taken.iterdir()) == []


@pytest.mark.parametrize("inner", ["values", "jobs"])
def test_nor_one_with_a_folder_of_somebody_else_in_it(shared: Path, inner: str) -> None:
    home = shared / "mine"
    home.mkdir()
    (home / inner).mkdir()
    os.chown(home, OTHER, OTHER)

    assert f"the folder {home / inner} belongs to root" in as_another_user(Home(home).create)


def test_a_link_of_somebody_else_is_not_followed(shared: Path) -> None:
    # To a folder of this very user: tomorrow it leads elsewhere.
    (shared / "mine").mkdir()
    os.chown(shared / "mine", OTHER, OTHER)
    (shared / "link").symlink_to(shared / "mine")

    assert f"the link {shared / 'link'} belongs to root" in as_another_user(Home(shared / "link").create)
    assert list((shared / "mine").iterdir()) == []


def test_a_link_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    Home(tmp_path / "home").create()

    assert (tmp_path / "disk" / "jobs").is_dir()
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o700


def test_a_folder_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o2775)
    Home(tmp_path / "home").create()

    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) & 0o777 == 0o700


def test_a_file_where_the_home_is_to_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(StoreError) as caught:
        Home(tmp_path / "home").create()

    assert str(caught.value) == (
        f"the folder {tmp_path / 'home'} of the store cannot be made: File exists; "
        "name another with COVALENT_CORE_HOME, or remove what is there"
    )


def test_a_file_that_others_could_lock_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "dispatcher.lock"
    file.write_text("12")
    file.chmod(0o644)

    for mode in ("a+", "ab"):
        with open_private(file, mode):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600

    with open_private(tmp_path / "new", "ab"):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_dispatcher_makes_files_for_its_user_alone(tmp_path: Path) -> None:
    started = os.umask(0)

    try:
        home = Home(tmp_path / "home")
        home.create()
        lock = take_lock(home)
        assert lock is not None
        lock.close()
        assert stat.S_IMODE(home.lock.stat().st_mode) == 0o600
    finally:
        os.umask(started)


# --- the configuration -------------------------------------------------------------------------------------------


def test_configuration_that_is_not_there_is_empty() -> None:
    assert read_configuration() == {}


def test_configuration_is_found_in_the_places_that_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "default": tmp_path / "user" / ".config" / "covalent-core" / "config.toml",
        "xdg": tmp_path / "xdg" / "covalent-core" / "config.toml",
        "explicit": tmp_path / "mine.toml",
    }

    for name, file in places.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'[executors.local]\nname = "{name}"\n')

    def found() -> str:
        return str(read_configuration()["executors"]["local"]["name"])

    assert found() == "default"

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert found() == "xdg"

    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "mine.toml"))
    assert found() == "explicit"


def test_configuration_that_is_no_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[executors\n")
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(file))

    with pytest.raises(ExecutorOptionError) as caught:
        read_configuration()

    assert str(caught.value) == (
        f"{file} is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 11)"
    )


def test_configuration_that_is_no_utf_8_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b'name = "\xff"\n')
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(file))

    with pytest.raises(ExecutorOptionError, match="is not valid TOML"):
        read_configuration()

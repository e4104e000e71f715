"""Where the store and the configuration are, and on which file systems the store must not be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from covalent_core._home import (
    NETWORK_FILE_SYSTEMS,
    Home,
    file_system_of,
    find_home,
    read_configuration,
    refuse_network_file_system,
)
from covalent_core.errors import ExecutorOptionError, StoreError

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
        f"corrupt it; put it on a disk of this host with: "
        f"export COVALENT_CORE_HOME=/var/tmp/covalent-core-{os.getuid()}"
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

"""The type of the file system of a folder, which of them are refused, and the free space."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.mounts import mounted_tmpfs

from bytecache import SharedStore
from bytecache.system import filesystem
from bytecache.system.filesystem import check_not_network, filesystem_type, free_bytes

MOUNTS = """\
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:5 / /dev/shm rw - tmpfs tmpfs rw
31 22 0:6 / /data rw shared:2 master:3 - nfs4 server:/data rw,vers=4.2
32 31 8:2 / /data/local rw - xfs /dev/sdb rw
33 22 0:7 / /with\\040space\\134 rw - lustre x rw
34 22 0:8 / /twice rw - nfs x rw
35 22 0:9 / /twice rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    "folder, kind",
    [
        ("/", "ext4"),
        ("/home/a", "ext4"),
        ("/data", "nfs4"),
        ("/data/a/b", "nfs4"),
        ("/database", "ext4"),
        ("/data/local/x", "xfs"),
        ("/data/locally", "nfs4"),
        ("/with space\\/a", "lustre"),
        ("/twice/a", "tmpfs"),
    ],
)
def test_a_folder_is_on_its_nearest_mount(tmp_path: Path, folder: str, kind: str) -> None:
    """The deepest mount above it counts, the last of several at one path; escapes are undone."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS)
    assert filesystem_type(Path(folder), mountinfo) == kind


def test_a_system_that_does_not_say_counts_as_local(tmp_path: Path) -> None:
    """Without mountinfo the type is empty, and nothing is refused."""
    assert filesystem_type(tmp_path, tmp_path / "none") == ""


def test_the_type_is_that_of_the_target_of_a_link(tmp_path: Path) -> None:
    """A link to a folder in memory is in memory; a folder that does not exist yet is where it will be made."""
    (tmp_path / "link").symlink_to("/dev/shm")
    assert filesystem_type(tmp_path / "link" / "not" / "yet") == filesystem_type(Path("/dev/shm")) == "tmpfs"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "lustre", "9p", "fuse.sshfs"])
def test_network_file_systems_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    """A store on a network file system raises a ValueError with path, type, reason and way out; nothing is made."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"22 1 8:1 / / rw - {kind} x rw\n")
    monkeypatch.setattr(filesystem, "filesystem_type", lambda folder: filesystem_type(folder, mountinfo))
    with pytest.raises(ValueError, match=f"store is on {kind}: .*local disk"):
        SharedStore(tmp_path / "store", maxbytes=100)
    assert not (tmp_path / "store").exists()
    with pytest.raises(ValueError, match=kind):
        check_not_network(tmp_path)


def test_free_bytes_in_memory_are_at_most_what_the_process_may_use(tmp_path: Path) -> None:
    """On a tmpfs its own free space counts if that is less than the memory available."""
    with mounted_tmpfs(tmp_path / "shm", "size=64k") as small:
        assert free_bytes(small) == 64 << 10
        (small / "a").write_bytes(bytes(10_000))
        assert free_bytes(small) == (64 << 10) - 3 * 4096

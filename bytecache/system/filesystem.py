"""The file system of a folder: its type, its free space, whether it is in memory or on a network."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from .memory_limit import available_memory
from .mounts import read_mounts

SHARED_MEMORY = Path("/dev/shm")
RESERVED_FRACTION = 0.25  # of /dev/shm, which other programs need too: a DataLoader's workers pass their batches there
_MEMORY = frozenset({"tmpfs", "ramfs"})
# They overwrite a page of a file where it is; btrfs, f2fs, an overlay on them and others may write it elsewhere.
_IN_PLACE = _MEMORY | {"ext2", "ext3", "ext4", "xfs"}
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")
_NETWORK = frozenset(
    "9p afs beegfs ceph cifs coda fuse.ceph fuse.glusterfs fuse.gcsfuse fuse.juicefs fuse.rclone fuse.s3fs fuse.sshfs "
    "glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb3 smbfs".split()
)


def resolve_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder that a user's path means, with ``~`` and links resolved.

    Raise ValueError for a URL, and for a home directory or an environment variable that cannot be meant literally;
    FileNotFoundError for a link that leads nowhere, as to a disk that is not mounted.
    """
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ValueError(f"path must be a folder of this machine, got {text!r}: give a name, without a NUL in it")
    expanded = os.path.expanduser(text)
    if _URL.match(text) or expanded.startswith(("~", "$")):
        raise ValueError(
            f"path must be a folder of this machine, got {text!r}, which would be taken literally: a URL is no folder, "
            "and for environment variables use os.path.expandvars"
        )
    folder = Path(os.path.abspath(expanded))
    for link in (folder, *folder.parents):
        if link.is_symlink() and not link.exists():
            raise FileNotFoundError(
                errno.ENOENT, "a link that leads nowhere, or in a circle: is its disk mounted?", str(link)
            )
    return Path(os.path.realpath(folder))


def filesystem_type(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system that a folder is on, or will be on; "" if the system does not say."""
    path, deepest, kind = os.path.realpath(folder), "", ""
    for mount in read_mounts(mountinfo):
        if (path + "/").startswith(mount.path.rstrip("/") + "/") and len(mount.path) >= len(deepest):
            deepest, kind = mount.path, mount.filesystem
    return kind


def is_memory_backed(folder: Path) -> bool:
    """Return whether files in a folder stay in memory."""
    return filesystem_type(folder) in _MEMORY


def overwrites_in_place(folder: Path) -> bool:
    """Return whether a page of a file in a folder can be overwritten without space for it elsewhere."""
    return filesystem_type(folder) in _IN_PLACE


def is_on_network(folder: Path) -> bool:
    """Return whether a folder is on a network file system, where mapped files are not shared between machines."""
    return filesystem_type(folder) in _NETWORK


def check_not_network(folder: Path) -> None:
    """Raise ValueError if a folder is on a network file system."""
    kind = filesystem_type(folder)
    if kind in _NETWORK:
        raise ValueError(
            f"path must be on a local disk or in memory, {folder} is on {kind}: processes on several machines do not "
            "see each other's writes there. Give a folder in /dev/shm, in /tmp or on a local disk"
        )


def free_bytes(folder: Path, reserved: int = 0) -> int:
    """Return how many bytes can still be written to a folder if `reserved` ones of its file system are to stay free.

    In memory they are at most what this process may still use.
    """
    status = os.statvfs(folder)
    free = max(0, status.f_bavail * status.f_frsize - reserved)
    return min(free, available_memory()) if is_memory_backed(folder) else free


def reserved_bytes(folder: Path) -> int:
    """Return how many bytes of a folder's file system are to be left to other programs: a share of /dev/shm."""
    try:
        if os.stat(folder).st_dev != os.stat(SHARED_MEMORY).st_dev:
            return 0
    except OSError:
        return 0
    status = os.statvfs(folder)
    return int(RESERVED_FRACTION * status.f_blocks * status.f_frsize)


def disk_bytes(folder: Path, without: str = "") -> int:
    """Return the bytes that the files in a folder take, on disk or in memory, but for those with a suffix."""
    total = 0
    for file in folder.iterdir():
        if not without or file.suffix != without:
            try:
                total += file.stat().st_blocks * 512  # the unit on every file system
            except FileNotFoundError:  # a job has just removed it
                pass
    return total

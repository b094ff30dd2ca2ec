"""Whether a file system writes down when a folder changes, so that a list of its files may be cached by that time."""

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux says which file systems are mounted; without it, times alone are judged."""


def times_are_kept(modified: NDArray[np.int64], devices: Collection[int]) -> bool:
    """Return whether modification times of folders can be believed to change when a file is added or removed.

    Object stores and other services that are mounted in user space (FUSE: s3fs, gcsfuse, rclone, ...) have no folders:
    they give the time of the mount, of the folder's first object, or 0. So nothing on FUSE is believed, nor a time of
    0, nor two or more folders that all have one time.

    Args:
        modified: (F,) of each folder, nanoseconds since 1970.
        devices: Numbers of the file systems that they lie on.

    Example:
        >>> times_are_kept(np.array([7_000_000_000, 8_000_000_000]), [])
        True
        >>> times_are_kept(np.array([7_000_000_000, 7_000_000_000]), [])
        False
    """
    if modified.min() <= 0 or (len(modified) > 1 and modified.min() == modified.max()):
        return False
    return not any(kind == "fuse" or kind.startswith("fuse.") for kind in _kinds(devices))


def _kinds(devices: Collection[int]) -> list[str]:
    """Return the kinds of some mounted file systems, such as ``ext4``; those that are not listed are left out."""
    wanted = {f"{os.major(device)}:{os.minor(device)}" for device in devices}
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    # 36 35 98:0 /root /mounted/at rw,noatime master:1 - ext3 /dev/root rw
    split = [(line.split(" "), line.partition(" - ")[2]) for line in lines]
    return [after.split(" ")[0] for before, after in split if len(before) > 2 and before[2] in wanted]  # noqa: PLR2004 - the third field

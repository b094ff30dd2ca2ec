"""One process at a time works in a run directory. Imports neither torch nor Lightning."""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import IO

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class RunLock:
    """A lock on a directory that ends with the process that holds it, however that process ends.

    It is a record lock of POSIX, not one of ``flock``: loader workers are forked, and one that outlives a killed run by
    some seconds would go on holding a lock of the other kind. A file system that has no locks is not locked.

    Args:
        directory: It exists. The lock is a file in it, so that it moves with the directory and a copy has its own.

    Raises:
        BlockingIOError: If another process holds the lock; its ``filename`` says which, as far as that is known.
        OSError: If the file cannot be written, or is a link, a FIFO or a device.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     RunLock(Path(directory)).release()
        ...     Path(directory, ".lock").exists()
        True
    """

    def __init__(self, directory: Path) -> None:
        self._file: IO[str] = open(directory / ".lock", "a+", encoding="utf-8", opener=_opened)  # noqa: SIM115 - held until the process ends
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip()
            if error.errno in (errno.EACCES, errno.EAGAIN):
                self._file.close()
                raise BlockingIOError(errno.EAGAIN, "locked", holder) from error
            if error.errno not in _WITHOUT_LOCKS:
                self._file.close()
                raise
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} of {os.uname().nodename}")
        self._file.flush()

    def release(self) -> None:
        """Let other processes work in the directory."""
        self._file.close()


def _opened(path: str, flags: int) -> int:
    # Its content is replaced: not that of a file elsewhere, to which a link leads that came with a stranger's run.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, ".lock is no regular file", path)

"""What the system lets a process have: open files and memory. Imports neither torch nor Lightning."""

import contextlib
import ctypes
import os
import resource

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # names of glibc's malloc.h
_OF_A_RUN = 64
_OF_A_WORKER = 32  # its pipes, and the tensors of the batches that it has drawn ahead


def raise_descriptor_limit() -> None:
    """Let this process open as many files as the system allows it to; the default is for older programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # where "unlimited" is more than the kernel gives
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reuse_freed_memory() -> None:
    """Let this process keep the memory of large tensors that it frees, for the next ones.

    glibc hands anything above 32 MiB back to the system, which fills it with zeros, page by page, before it gives it
    out again. On two CPU cores that is a third of a training step of EfficientNet-Lite0; the peak of the memory grows
    by a tenth. Nothing happens where the C library is another one, or ``MALLOC_...`` variables say what it should do.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(AttributeError):  # of another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)


def refuse_few_descriptors(num_workers: int, option: str) -> None:
    """Refuse loader workers that could not pass their batches on: they would wait for ever.

    Args:
        num_workers: Of a loader.
        option: Where that number is configured, such as ``datamodule.num_workers``.

    Raises:
        ValueError: If this process may not open enough files.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OF_A_RUN + _OF_A_WORKER * num_workers
    if num_workers and limit != resource.RLIM_INFINITY and limit < needed:
        raise ValueError(
            f"this process may open {limit} files (ulimit -n), and {num_workers} loader workers need {needed}; raise "
            f"the limit, or give {option}=0"
        )

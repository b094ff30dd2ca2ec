"""What the system lets a process have: open files and shared memory. Imports neither torch nor Lightning."""

import contextlib
import resource

_OF_A_RUN = 64
_OF_A_WORKER = 32  # its pipes, and the tensors of the batches that it has drawn ahead


def raise_descriptor_limit() -> None:
    """Let this process open as many files as the system allows it to; the default is for older programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # where "unlimited" is more than the kernel gives
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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

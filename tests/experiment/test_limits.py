import os
import platform
import resource
import subprocess
import sys

import pytest

from camloc.experiment.limits import raise_descriptor_limit, refuse_few_descriptors


def test_all_files_that_the_system_allows_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [64, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.__setitem__(slice(None), given))
    raise_descriptor_limit()
    assert limits == [4096, 4096]


@pytest.mark.parametrize(("limit", "workers", "fits"), [(64, 4, False), (192, 4, True), (64, 0, True), (-1, 9, True)])
def test_workers_that_would_wait_for_ever_are_refused(
    limit: int, workers: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    if fits:
        refuse_few_descriptors(workers, "map_loader.num_workers")
        return
    message = r"may open 64 files \(ulimit -n\), and 4 loader workers need 192; raise the limit, or give map_loader"
    with pytest.raises(ValueError, match=message):
        refuse_few_descriptors(workers, "map_loader.num_workers")


FAULTS = """
import resource, sys
from camloc.experiment.limits import reuse_freed_memory
if sys.argv[1] == "reused":
    reuse_freed_memory()
buffer = bytearray(64 << 20)
del buffer
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    buffer = bytearray(64 << 20)
    buffer[:] = b"1" * len(buffer)
    del buffer
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told how to keep memory")
@pytest.mark.parametrize(
    ("how", "variables", "is_kept"),
    [("", {}, False), ("reused", {}, True), ("reused", {"MALLOC_ARENA_MAX": "2"}, False)],
)
def test_freed_memory_is_kept_for_what_comes_next(how: str, variables: dict[str, str], is_kept: bool) -> None:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS, how]
    faults = int(subprocess.run(command, env=mine | variables, text=True, capture_output=True, check=True).stdout)
    pages = 10 * (64 << 20) // resource.getpagesize()
    assert (faults < pages / 4) == is_kept, f"{faults} pages were given anew, of {pages} written"

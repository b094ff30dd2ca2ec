import resource

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

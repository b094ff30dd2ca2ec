"""What is kept of every pair: types, growth, order, and all processes."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from camloc.experiment.measuring.store import PairStore, Stored


def gathered_by_all(stores: list[PairStore], monkeypatch: pytest.MonkeyPatch) -> list[Stored]:
    """Gather as many processes do: each hands in its own part and is given everyone's."""
    handed: list[Any] = []
    monkeypatch.setattr(torch.distributed, "all_gather_object", lambda _, own: handed.append(own))
    for store in stores:
        with pytest.raises(TypeError):  # nothing was given back yet
            store.gather(len(stores))

    def gather(gathered: list[Any], _: object) -> None:
        gathered[:] = handed

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    return [store.gather(len(stores)) for store in stores]


def test_values_come_back_as_they_were_in_the_splits_order() -> None:
    store = PairStore()
    store.add(
        [2, 0],
        [4, 5],
        {"rank": torch.tensor([7, 8]), "iou": torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)},
    )
    store.add([1], [6], {"rank": torch.tensor([9]), "iou": torch.tensor([[0.5, 0.6]], dtype=torch.float64)})
    stored = store.gather(world_size=1)
    assert stored.positions.tolist() == [0, 1, 2]
    assert stored.classes.tolist() == [5, 6, 4]
    assert stored.values["rank"].tolist() == [8, 9, 7]
    assert stored.values["rank"].dtype == np.int64
    assert stored.values["iou"].tolist() == [[0.3, 0.4], [0.5, 0.6], [0.1, 0.2]]
    assert stored.values["iou"].dtype == np.float64


@pytest.mark.parametrize("shape", [(), (1,), (8,), (11,), (2, 3, 9)])
def test_bools_share_bytes_and_come_back_in_their_shape(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.rand(5, *shape, generator=generator) < 0.5
    store = PairStore()
    store.add([0, 1], [0, 0], {"hits": given[:2]})
    store.add([2, 3, 4], [0] * 3, {"hits": given[2:]})
    num_bytes = math.ceil((1, *shape)[-1] / 8)
    assert store._values["hits"].dtype == np.uint8
    assert store._values["hits"].shape[-1] == num_bytes
    found = store.gather(world_size=1).values["hits"]
    assert found.dtype == bool
    assert found.tolist() == given.tolist()


def test_arrays_grow_by_doubling_and_keep_what_they_hold() -> None:
    store = PairStore()
    sizes = []
    for position in range(9):
        store.add([position], [0], {"x": torch.tensor([position])})
        sizes.append(len(store._values["x"]))
    assert sizes == [1, 2, 4, 4, 8, 8, 8, 8, 16]
    store.add(list(range(9, 60)), [0] * 51, {"x": torch.arange(9, 60)})  # several doublings at once
    assert store.gather(world_size=1).values["x"].tolist() == list(range(60))


def test_pairs_of_one_image_keep_their_order() -> None:
    store = PairStore()
    store.add([3, 1, 1], [5, 9, 2], {"class": torch.tensor([5, 9, 2])})
    store.add([0, 0], [8, 1], {"class": torch.tensor([8, 1])})
    stored = store.gather(world_size=1)
    assert stored.positions.tolist() == [0, 0, 1, 1, 3]
    assert stored.values["class"].tolist() == stored.classes.tolist() == [8, 1, 9, 2, 5]


def test_a_batch_of_padding_alone_adds_nothing() -> None:
    store = PairStore()
    store.add([], [], {"x": torch.zeros(0, 3)})
    stored = store.gather(world_size=1)
    assert stored.positions.tolist() == []
    assert stored.positions.dtype == np.int64
    assert stored.values == {}
    assert Stored.nothing().positions.tolist() == []


def test_a_value_that_only_some_batches_have_is_refused() -> None:
    store = PairStore()
    store.add([0], [6], {"rank": torch.tensor([1])})
    with pytest.raises(ValueError, match="pairs of one split have rank, and then rank, causes; either all pairs"):
        store.add([1], [6], {"rank": torch.tensor([1]), "causes": torch.tensor([2])})


def test_every_process_is_given_the_pairs_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = [PairStore(), PairStore(), PairStore()]
    stores[0].add([0, 3], [7, 8], {"hits": torch.tensor([[True, False], [False, False]])})
    stores[1].add([1], [9], {"hits": torch.tensor([[True, True]])})
    # The third process saw only padding, and knows neither the names nor how many bits there are.
    for stored in gathered_by_all(stores, monkeypatch):
        assert stored.positions.tolist() == [0, 1, 3]
        assert stored.classes.tolist() == [7, 9, 8]
        assert stored.values["hits"].tolist() == [[True, False], [True, True], [False, False]]

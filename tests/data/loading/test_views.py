"""Views of images, and which of them an epoch sees."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camloc.data.features import FeatureFile
from camloc.data.images.transforms import EvalTransform, TrainTransform
from camloc.data.loading.samplers import Draw, TrainSampler
from camloc.data.loading.views import FeatureDataset, Views, collate_features


class Ramps:
    """Two images of 4 x 6 pixels that rise from left to right."""

    def __len__(self) -> int:
        return 2

    def target(self, index: int) -> int:
        return index + 5

    def image(self, index: int, shrink: object = None) -> Tensor:  # noqa: ARG002 - nothing to shrink
        return (torch.arange(6) * 10 + index).expand(3, 4, 6).to(torch.uint8).contiguous()


def views(count: int, seed: int = 0) -> Views:
    split: Any = Ramps()
    return Views(split, count, EvalTransform(6), TrainTransform(6, (0.5, 1.0)), seed)


def test_one_view_is_the_whole_image() -> None:
    one = views(1)
    assert len(one) == 2
    expected = EvalTransform(6)(Ramps().image(1), (0, 0, 6, 4))
    assert torch.equal(one.image(1), expected)
    assert torch.equal(views(1, seed=9).image(1), expected)


def test_several_views_are_drawn_once_and_differ() -> None:
    several = views(4, seed=1)
    assert len(several) == 8
    images = [several.image(row) for row in range(4)]
    assert all(torch.equal(image, views(4, seed=1).image(row)) for row, image in enumerate(images))
    assert any(not torch.equal(images[0], other) for other in images[1:])
    assert any(not torch.equal(image, views(4, seed=2).image(row)) for row, image in enumerate(images))


def test_an_epoch_sees_one_view_of_each_image() -> None:
    several = views(4)
    assert several.row(Draw(sample=1, seed=6)) == 4 + 2
    seen = {several.row(draw) for epoch in range(40) for draw in drawn(epoch)}
    assert seen == set(range(8))
    assert sorted(several.row(draw) // 4 for draw in drawn(0)) == [0, 1]


def drawn(epoch: int) -> list[Draw]:
    sampler = TrainSampler(2, seed=0)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_features_come_with_their_labels_and_without_images(tmp_path: Path) -> None:
    file = FeatureFile(tmp_path / "a.npy", 4, 3)
    np.save(file.path, np.arange(12, dtype=np.float32).reshape(4, 3))
    dataset = FeatureDataset(views(2), file)
    batch = collate_features([dataset[Draw(1, 7)], dataset[Draw(0, 4)]])
    assert batch.rows.tolist() == [[9, 10, 11], [0, 1, 2]]
    assert batch.target.tolist() == [6, 5]
    batch.rows[0] = 0  # a copy: the file is not written to
    assert file.take([3]).tolist() == [[9, 10, 11]]

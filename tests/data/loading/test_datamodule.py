from typing import Any

import pytest
import torch

from camloc.data.datasets.textures import Textures
from camloc.data.loading.datamodule import LoaderOptions
from camloc.data.loading.sample import BoxedTrainBatch, EvalBatch, TrainBatch


def textures(**options: Any) -> Textures:  # noqa: ANN401 - options of the loaders, right or wrong
    return Textures(num_train=20, num_val=9, num_test=9, image_size=64, **{"num_workers": 0} | options)


def sides(datamodule: Textures) -> list[torch.Size]:
    train: TrainBatch = next(iter(datamodule.train_dataloader()))
    test: EvalBatch = next(iter(datamodule.test_dataloader()))
    return [train.images.shape, test.images.shape]


def test_the_backbones_size_is_used_where_none_was_given() -> None:
    datamodule = textures(batch_size=2)
    datamodule.use_input_size(48)
    assert sides(datamodule) == [(2, 3, 48, 48)] * 2
    assert datamodule.input_size == 48


def test_a_size_that_was_given_is_kept() -> None:
    datamodule = textures(batch_size=2, input_size=32)
    datamodule.use_input_size(48)
    assert sides(datamodule) == [(2, 3, 32, 32)] * 2


def test_without_a_size_no_loader_is_made_and_the_window_is_known() -> None:
    datamodule = textures(eval_transform="centre_crop")
    assert datamodule.eval_transform.kind == "centre_crop"
    assert datamodule.eval_transform.window((256, 512)) == (144, 16, 368, 240)
    for loader in (datamodule.train_dataloader, datamodule.val_dataloader, datamodule.test_dataloader):
        with pytest.raises(ValueError, match="input_size is null and no backbone has set it"):
            loader()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("input_size", 0, r"datamodule\.input_size must be at least 1 and a whole number, found 0"),
        ("input_size", 22.5, r"datamodule\.input_size must be at least 1 and a whole number, found 22\.5"),
        ("batch_size", None, r"datamodule\.batch_size must be at least 1 and a whole number, found None"),
        ("seed", -1, r"datamodule\.seed must be at least 0"),
        ("num_workers", -1, r"datamodule\.num_workers must be at least 0"),
        ("crop_area", [0.5], r"datamodule\.crop_area must be two ascending shares in \(0, 1\], found \[0\.5\]"),
        ("crop_area", [0.5, 0.1], r"datamodule\.crop_area must be two ascending shares"),
        ("crop_area", [0, 1], r"datamodule\.crop_area must be two ascending shares"),
        ("train_transform", "warp", r"datamodule\.train_transform must be one of .*, found 'warp'"),
        ("eval_transform", "crop", r"datamodule\.eval_transform must be one of .*, found 'crop'"),
    ],
)
def test_a_wrong_option_is_named_when_the_data_module_is_built(option: str, value: object, message: str) -> None:
    assert option in LoaderOptions.__annotations__
    with pytest.raises(ValueError, match=message):
        textures(**{option: value})


def test_training_images_are_counted_by_class() -> None:
    datamodule = textures()
    assert datamodule.class_counts() == [3, 3] + [2] * 7
    datamodule.leave_out("train", [0, 9])
    assert datamodule.class_counts() == [1, 3] + [2] * 7
    split = datamodule.split("train")
    datamodule.leave_out("train", [index for index in range(18) if split.target(index) == 0])
    assert datamodule.class_counts() == [0, 3] + [2] * 7


def test_leaving_out_every_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="no image of the val split can be read"):
        textures().leave_out("val", range(9))


def test_training_sees_boxes_only_where_it_was_asked_for() -> None:
    datamodule = textures(batch_size=4, input_size=32)
    assert type(next(iter(datamodule.train_dataloader()))) is TrainBatch
    datamodule.train_with_boxes()
    batch = next(iter(datamodule.train_dataloader()))
    assert type(batch) is BoxedTrainBatch
    assert batch.boxes.shape == (4, 4)
    assert ((batch.boxes >= 0) & (batch.boxes <= 32)).all()

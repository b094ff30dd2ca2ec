"""Weak supervision is a type: nothing that training sees can hold a box or a mask."""

import torch

from camloc.data.loading.sample import EvalSample, TrainBatch, TrainSample, collate_eval, collate_train


def test_training_samples_and_batches_have_no_field_for_boxes() -> None:
    assert TrainSample._fields == ("image", "target")
    assert TrainBatch._fields == ("images", "target")


def sample(num_boxes: int, *, is_padding: bool = False) -> EvalSample:
    return EvalSample(
        image=torch.zeros(3, 4, 5, dtype=torch.uint8),
        target=num_boxes,
        gt_boxes=torch.ones(num_boxes, 4),
        image_boxes=torch.ones(num_boxes, 4) * 10,
        masks=None,
        image_size=(40, 50),
        window=(0, 0, 50, 40),
        image_id=f"image{num_boxes}",
        position=num_boxes,
        is_padding=is_padding,
    )


def test_images_keep_their_own_number_of_boxes() -> None:
    batch = collate_eval([sample(1), sample(3, is_padding=True)])
    assert batch.images.shape == (2, 3, 4, 5)
    assert [len(boxes) for boxes in batch.truth.gt_boxes] == [1, 3]
    assert batch.truth.target.dtype == torch.int64
    assert batch.truth.is_padding.tolist() == [False, True]
    assert batch.truth.image_sizes == [(40, 50), (40, 50)]
    assert batch.truth.image_ids == ["image1", "image3"]


def test_training_batches_stay_uint8() -> None:
    batch = collate_train([TrainSample(torch.zeros(3, 2, 2, dtype=torch.uint8), 1)] * 3)
    assert batch.images.dtype == torch.uint8
    assert batch.target.tolist() == [1, 1, 1]

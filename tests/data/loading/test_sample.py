"""Weak supervision is a type: nothing that training sees can hold a box or a mask."""

import torch

from camloc.data.images.transforms import TrainTransform
from camloc.data.loading.dataset import BoxedTrainDataset
from camloc.data.loading.sample import (
    BoxedTrainBatch,
    BoxedTrainSample,
    EvalSample,
    TrainBatch,
    TrainSample,
    collate_boxed_train,
    collate_eval,
    collate_train,
)
from camloc.data.loading.samplers import Draw


def test_training_samples_and_batches_have_no_field_for_boxes() -> None:
    assert TrainSample._fields == ("image", "target")
    assert TrainBatch._fields == ("images", "target")


def sample(num_boxes: int, *, is_padding: bool = False) -> EvalSample:
    return EvalSample(
        image=torch.zeros(3, 4, 5, dtype=torch.uint8),
        target=num_boxes,
        gt_boxes=[torch.ones(num_boxes, 4)],
        image_boxes=[torch.ones(num_boxes, 4) * 10],
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


def test_pairs_of_several_labels_keep_their_boxes_and_masks() -> None:
    labels = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    masks = torch.zeros(2, 2, 4, 5, dtype=torch.bool)
    masks[1, 0, 2, 3] = True
    first, negative, last = (sample(1)._replace(target=target) for target in labels)
    batch = collate_eval(
        [
            first._replace(
                gt_boxes=[torch.ones(1, 4), torch.ones(2, 4)], image_boxes=[torch.ones(1, 4)] * 2, masks=masks
            ),
            negative._replace(gt_boxes=[], image_boxes=[]),
            last,
        ]
    )
    truth = batch.truth
    assert truth.target.dtype == torch.bool
    assert torch.equal(truth.target, labels)
    assert truth.pairs.image_index.tolist() == [0, 0, 2]
    assert [len(boxes) for boxes in truth.gt_boxes] == [1, 2, 1]
    assert truth.masks is not None
    assert torch.equal(truth.masks[:2], masks)
    assert not truth.masks[2, 0].any()
    assert truth.masks[2, 1].all(), "a pair without a mask is ignored everywhere"


def test_training_batches_of_several_labels_are_rows_of_bools() -> None:
    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    batch = collate_train([TrainSample(image, torch.tensor(row)) for row in ([True, False], [False, False])])
    assert batch.target.tolist() == [[True, False], [False, False]]
    assert batch.target.dtype == torch.bool


def test_training_batches_stay_uint8() -> None:
    batch = collate_train([TrainSample(torch.zeros(3, 2, 2, dtype=torch.uint8), 1)] * 3)
    assert batch.images.dtype == torch.uint8
    assert batch.target.tolist() == [1, 1, 1]


def test_boxes_for_training_are_a_type_of_their_own() -> None:
    assert BoxedTrainSample._fields == ("image", "target", "box")
    assert BoxedTrainBatch._fields == ("images", "target", "boxes")
    assert not issubclass(BoxedTrainBatch, TrainBatch)
    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    batch = collate_boxed_train([BoxedTrainSample(image, 1, torch.ones(4)), BoxedTrainSample(image, 0, torch.zeros(4))])
    assert batch.boxes.tolist() == [[1] * 4, [0] * 4]
    assert batch.target.tolist() == [1, 0]


class Annotated:
    """An image of 8x8 pixels with the given boxes."""

    def __init__(self, *boxes: list[float]) -> None:
        self.boxes = torch.tensor(boxes).view(-1, 4)

    def image(self, _: int, shrink: object = None) -> torch.Tensor:
        assert shrink is None, "its boxes are in pixels of the whole image"
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    def target(self, _: int) -> int:
        return 3

    def gt_boxes(self, _: int) -> list[torch.Tensor]:
        return [self.boxes]


def test_of_several_boxes_the_largest_is_trained_on_and_none_is_zeros() -> None:
    transform = TrainTransform(8, (1.0, 1.0))
    several = Annotated([0, 0, 2, 2], [0, 2, 8, 6], [0, 0, 1, 8])
    sample = BoxedTrainDataset(several, transform)[Draw(0, 0)]  # type: ignore[arg-type] # as far as it is used
    assert sample.box.tolist() == [0, 2, 8, 6]
    assert sample.target == 3
    none = BoxedTrainDataset(Annotated(), transform)[Draw(0, 0)]  # type: ignore[arg-type] # as far as it is used
    assert none.box.tolist() == [0, 0, 0, 0]

"""A split and a transform as a torch data set, with boxes for evaluation, without for training."""

import torch
from torch.utils.data import Dataset

from camloc.boxes import to_window
from camloc.data.sample import EvalSample, TrainSample
from camloc.data.samplers import Draw
from camloc.data.split import Split
from camloc.data.transforms import EvalTransform, TrainTransform


class TrainDataset(Dataset[TrainSample]):
    """Pictures and image labels; the split's boxes are never asked for.

    Args:
        split: The pictures.
        transform: Crops and mirrors.
    """

    def __init__(self, split: Split, transform: TrainTransform) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, draw: Draw) -> TrainSample:
        """Return the picture of this draw, augmented with its seed."""
        picture = self.split.picture(draw.sample, self.transform.shrink(draw.seed))
        return TrainSample(self.transform(picture, draw.seed), self.split.target(draw.sample))


class EvalDataset(Dataset[EvalSample]):
    """Pictures with what they are measured against; positions beyond the end repeat from the start and say so.

    Args:
        split: The pictures.
        transform: Takes pictures to the network's input size.
    """

    def __init__(self, split: Split, transform: EvalTransform) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, position: int) -> EvalSample:
        """Return the picture at a position that ``EvalSampler`` dealt."""
        index = position % len(self.split)
        picture = self.split.picture(index)
        image_size = (picture.shape[1], picture.shape[2])
        window = self.transform.window(image_size)
        picture_boxes = self.split.gt_boxes(index)
        masks = self.split.masks(index)
        return EvalSample(
            image=self.transform(picture, window),
            target=self.split.target(index),
            gt_boxes=to_window(picture_boxes, window, self.transform.size),
            picture_boxes=picture_boxes,
            masks=None if masks is None else self.transform.masks(torch.stack(masks), window),
            image_size=image_size,
            window=window,
            image_id=self.split.image_id(index),
            position=position,
            is_padding=position >= len(self.split),
        )

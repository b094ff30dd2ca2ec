"""A split and a transform as a torch data set, with boxes for evaluation and full supervision, else without."""

import torch
from torch.utils.data import Dataset

from camloc.boxes import area, to_window
from camloc.data.images.transforms import EvalTransform, TrainTransform
from camloc.data.loading.sample import BoxedTrainSample, EvalSample, TrainSample
from camloc.data.loading.samplers import Draw
from camloc.data.loading.split import Split


class TrainDataset(Dataset[TrainSample]):
    """Images and image labels; the split's boxes are never asked for.

    Args:
        split: The images.
        transform: Crops and mirrors.
    """

    def __init__(self, split: Split, transform: TrainTransform) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, draw: Draw) -> TrainSample:
        """Return the image of this draw, augmented with its seed."""
        image = self.split.image(draw.sample, self.transform.shrink(draw.seed))
        return TrainSample(self.transform(image, draw.seed), self.split.target(draw.sample))


class BoxedTrainDataset(Dataset[BoxedTrainSample]):
    """Images, image labels and one true box each, for full supervision.

    Of several boxes it is the one with the largest part in the crop: the network predicts one box for each class, and
    finding any instance counts.

    Args:
        split: The images.
        transform: Crops and mirrors.
    """

    def __init__(self, split: Split, transform: TrainTransform) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, draw: Draw) -> BoxedTrainSample:
        """Return the image of this draw with its box, both augmented with its seed."""
        image = self.split.image(draw.sample)  # whole, for the boxes are in its pixels
        image_size = (image.shape[1], image.shape[2])
        boxes = self.transform.boxes(torch.cat(self.split.gt_boxes(draw.sample)), image_size, draw.seed)
        shown = boxes[area(boxes) > 0]
        box = shown[area(shown).argmax()] if len(shown) else torch.zeros(4)
        return BoxedTrainSample(self.transform(image, draw.seed), int(self.split.target(draw.sample)), box)


class EvalDataset(Dataset[EvalSample]):
    """Images with what they are measured against; positions beyond the end repeat from the start, marked as padding.

    Args:
        split: The images.
        transform: Takes images to the network's input size.
    """

    def __init__(self, split: Split, transform: EvalTransform) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, position: int) -> EvalSample:
        """Return the image at a position that ``EvalSampler`` dealt."""
        index = position % len(self.split)
        image = self.split.image(index)
        image_size = (image.shape[1], image.shape[2])
        window = self.transform.window(image_size)
        image_boxes = self.split.gt_boxes(index)
        masks = self.split.masks(index)
        return EvalSample(
            image=self.transform(image, window),
            target=self.split.target(index),
            gt_boxes=[to_window(boxes, window, self.transform.size) for boxes in image_boxes],
            image_boxes=image_boxes,
            masks=None if masks is None else self.transform.masks(torch.stack(masks, dim=1), window),
            image_size=image_size,
            window=window,
            image_id=self.split.image_id(index),
            position=position,
            is_padding=position >= len(self.split),
        )

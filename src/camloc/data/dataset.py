"""A split and a transform as a torch data set, with boxes for evaluation, without for training."""

from torch.utils.data import Dataset

from camloc.data.sample import EvalSample, TrainSample
from camloc.data.samplers import Draw
from camloc.data.split import Split
from camloc.data.transforms import TrainTransform, WarpTransform


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
        image = self.transform(self.split.picture(draw.sample), draw.seed)
        return TrainSample(image, self.split.target(draw.sample))


class EvalDataset(Dataset[EvalSample]):
    """Pictures with their boxes; positions beyond the end repeat from the start and say so.

    Args:
        split: The pictures.
        transform: Takes picture and boxes to the network's input size.
    """

    def __init__(self, split: Split, transform: WarpTransform) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, position: int) -> EvalSample:
        """Return the picture at a position that ``EvalSampler`` dealt."""
        index = position % len(self.split)
        picture = self.split.picture(index)
        image, gt_boxes = self.transform(picture, self.split.gt_boxes(index))
        return EvalSample(
            image=image,
            target=self.split.target(index),
            gt_boxes=gt_boxes,
            image_size=(picture.shape[1], picture.shape[2]),
            image_id=self.split.image_id(index),
            position=position,
            is_padding=position >= len(self.split),
        )

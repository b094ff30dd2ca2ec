"""Images without labels in batches: decoded and resized by loader processes, in their order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from camloc.data.images.transforms import EvalTransform
from camloc.data.sources.video import Video
from camloc.records import Window


class Unlabelled(NamedTuple):
    """One image of a source, as a network sees it."""

    name: str
    image: Tensor | None
    """(3,S,S) uint8; null where it could not be read."""
    size: tuple[int, int]
    """``(height, width)`` of the image."""
    window: Window
    """The part of it that is seen, half-open xyxy pixels."""
    shown: Tensor | None
    """(3,H,W) uint8 to draw on; null unless asked for."""
    error: str | None
    """Why it could not be read."""
    seconds: float | None
    """Of a frame; null for others."""
    clipped: float = 0.0
    """Share of its stored values that lie outside of the training's range, which are black or white."""


class Viewing(NamedTuple):
    """How an image is prepared.

    Example:
        >>> viewing = Viewing(EvalTransform(32), show_side=16)
        >>> seen = viewing("a", torch.zeros(3, 48, 64, dtype=torch.uint8))
        >>> seen.image.shape, seen.size, seen.shown.shape
        (torch.Size([3, 32, 32]), (48, 64), torch.Size([3, 12, 16]))
    """

    transform: EvalTransform
    show_side: int | None = None
    """Largest side of ``shown``, pixels; null for nothing to draw on."""

    def __call__(self, name: str, image: Tensor, seconds: float | None = None) -> Unlabelled:
        """Prepare a (3,H,W) uint8 image."""
        size = (image.shape[1], image.shape[2])
        window = self.transform.window(size)
        shown = None if self.show_side is None else _at_most(image, self.show_side)
        return Unlabelled(name, self.transform(image, window), size, window, shown, None, seconds)


class UnlabelledDataset(Dataset[Unlabelled]):
    """Images by name; one that cannot be read has an error in its place.

    Args:
        names: (N,).
        read: From an index to the (3,H,W) uint8 image, and the share of its values that were clipped.
        viewing: Prepares it.
    """

    def __init__(self, names: Sequence[str], read: Callable[[int], tuple[Tensor, float]], viewing: Viewing) -> None:
        self.names, self._read, self._viewing = names, read, viewing

    def __len__(self) -> int:
        """Return N."""
        return len(self.names)

    def __getitem__(self, index: int) -> Unlabelled:
        """Return an image."""
        try:
            image, clipped = self._read(index)
            return self._viewing(self.names[index], image)._replace(clipped=clipped)
        except Exception as error:  # noqa: BLE001 - whatever a broken file provokes: none may stop the others
            reason = " ".join(str(error).split()) or type(error).__name__
            return Unlabelled(self.names[index], None, (0, 0), (0, 0, 0, 0), None, reason, None)


def load(dataset: Dataset[Unlabelled], batch_size: int, num_workers: int) -> Iterator[list[Unlabelled]]:
    """Yield batches in the order of the names."""
    loader: DataLoader[Any] = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=list)
    yield from loader


def load_frames(video: Video, viewing: Viewing, batch_size: int) -> Iterator[list[Unlabelled]]:
    """Yield batches of frames, named by the video and their number; of a camera or a stream as soon as one is there."""
    held: list[Unlabelled] = []
    for frame in video:
        held.append(viewing(f"{video.name}/{frame.number:06d}", frame.image, frame.seconds))
        if len(held) == (batch_size if video.is_file else 1):
            yield held
            held = []
    if held:
        yield held


def _at_most(image: Tensor, side: int) -> Tensor:
    height, width = image.shape[1:]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = cv2.resize(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(pixels).permute(2, 0, 1)

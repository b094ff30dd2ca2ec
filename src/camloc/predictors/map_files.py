"""Ready-made score maps of any method, one file per image in the layout of wsolevaluation."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from camloc.data.datasets.wsol_metadata import WsolMetadata, leaves_folder

NUM_SHOWN = 3


class ScoreMapFiles:
    """Score maps in files ``<image_id>.npy``; an id keeps its folders and its extension, ``val/1.jpg.npy``.

    Args:
        directory: Folder that the image ids are relative to.

    Raises:
        FileNotFoundError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     np.save(Path(directory, "1.jpg.npy"), [[0.0, 0.5, 1.0]])
        ...     ScoreMapFiles(directory).load("1.jpg")
        tensor([[0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise FileNotFoundError(f"score_maps={directory} is no folder; give the one with <image_id>.npy files")

    def path(self, image_id: str) -> Path:
        """Return where an image's map is.

        Raises:
            ValueError: If that is outside the directory.
        """
        if leaves_folder(image_id):
            raise ValueError(f"the image id {image_id!r} leads out of score_maps={self.directory}")
        return self.directory / f"{image_id}.npy"

    def check(self, image_ids: Iterable[str]) -> None:
        """See that every image has a file, without reading any.

        Raises:
            FileNotFoundError: If images have none; the message counts them and shows the first.
            ValueError: If an id leads out of the directory.
        """
        paths = [self.path(image_id) for image_id in image_ids]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            shown = ", ".join(path.relative_to(self.directory).as_posix() for path in missing[:NUM_SHOWN])
            raise FileNotFoundError(
                f"score_maps={self.directory} lacks {len(missing)} of {len(paths)} maps: {shown}"
                f"{', ...' if len(missing) > NUM_SHOWN else ''}; a map is named by the whole image id and .npy"
            )

    def load(self, image_id: str) -> Tensor:
        """Read one map as it is, neither resized nor normalized.

        Returns:
            (H,W) float32, or float64 where the file holds 64 bit floats or integers of 32 bits and more: rounded to
            float32, a score just below a grey level would be cut as that level.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If it does not hold real numbers, (H,W) and at least one, or is cut off.
        """
        path = self.path(image_id)
        try:
            with path.open("rb") as file:
                # Unlike np.load never an archive; a pickle is not opened.
                array = np.lib.format.read_array(file, allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(f"no score map {path}; a map is named by the whole image id and .npy") from None
        except (ValueError, TypeError, TokenError, MemoryError) as error:  # a header that is damaged may raise any
            raise ValueError(f"{path} is no array of numbers as np.save writes it, or is cut off: {error}") from None
        if array.ndim != len("HW") or array.size == 0:
            raise ValueError(f"{path} has shape {array.shape}; a score map is (height, width), at least (1, 1)")
        if array.dtype.kind not in "fiu" or array.itemsize > np.dtype(np.float64).itemsize:
            raise ValueError(f"{path} holds {array.dtype}; save float32 or another real number of 64 bits at most")
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.result_type(array.dtype, np.float32)))


class MapSample(NamedTuple):
    """An image's ready-made map; what it is measured against is looked up by the index."""

    score_map: Tensor
    """(H,W) float, as saved."""
    image_index: int
    """Of the image within its metadata, 0-based."""
    is_padding: bool
    """True for a repeat that only fills up the last round of a distributed sampler; it never counts."""


class MapBatch(NamedTuple):
    """B ready-made maps."""

    score_maps: list[Tensor]
    """B tensors (H_i,W_i), float, as saved."""
    image_indices: list[int]
    """B indices within the metadata."""
    is_padding: Tensor
    """(B,) bool."""

    @property
    def counted_positions(self) -> list[int]:
        """Indices of the images that are no padding."""
        return [i for i, is_padding in zip(self.image_indices, self.is_padding.tolist(), strict=True) if not is_padding]


class ReadyMadeMaps(Dataset[MapSample]):
    """A split's ready-made maps, each read when asked for; positions beyond the end repeat from the start and say so.

    Args:
        maps: The files.
        metadata: The split.

    Raises:
        FileNotFoundError: If an image of the split has no map.
        ValueError: If an image id leads out of the maps' directory.
    """

    def __init__(self, maps: ScoreMapFiles, metadata: WsolMetadata) -> None:
        self.maps, self.metadata = maps, metadata
        maps.check(metadata.image_id(index) for index in range(len(metadata)))

    def __getitem__(self, position: int) -> MapSample:
        """Return the map at a position that ``EvalSampler`` dealt."""
        index = position % len(self.metadata)
        return MapSample(self.maps.load(self.metadata.image_id(index)), index, position >= len(self.metadata))


def collate_maps(samples: Sequence[MapSample]) -> MapBatch:
    """List samples as a batch; each map keeps its size."""
    score_maps, image_indices, is_padding = zip(*samples, strict=True)
    return MapBatch(list(score_maps), list(image_indices), torch.tensor(is_padding))

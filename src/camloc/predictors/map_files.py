"""Ready-made score maps of any method, one file per image: the layout of wsolevaluation, and images of maps."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from camloc.data.datasets.wsol_metadata import leaves_folder
from camloc.data.loading.sample import EvalSample, collate_truth
from camloc.predictors.map_reading import check_npy, read_map
from camloc.predictors.truth import SplitTruth
from camloc.records import Prediction, Truth

MAP_SIZE = (224, 224)
"""``(height, width)`` at which maps and masks are compared, as wsolevaluation does."""
SUFFIXES = (".npy", ".npz", ".png")
NUM_SHOWN = 3
SHOW_PROGRESS_FROM = 20_000
"""Maps from which a look at all headers takes longer than two seconds."""
OnMissing = Literal["error", "skip"]


class MapFolder:
    """Score maps in files ``<image_id>.npy``, ``.npz`` or ``.png``; an id keeps its folders.

    A file may also be named without the image's own extension: ``val/1.jpg.npy`` or ``val/1.npy``.

    Args:
        directory: Folder that the image ids are relative to.

    Raises:
        FileNotFoundError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     np.save(Path(directory, "1.jpg.npy"), np.array([[0.0, 0.5, 1.0]]))
        ...     MapFolder(directory).load("1.jpg")
        tensor([[0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise FileNotFoundError(f"score_maps={directory} is no folder; give the one with <image_id>.npy files")
        self._files = {
            Path(folder, name).relative_to(self.directory).as_posix()
            for folder, _, names in os.walk(self.directory)
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".")
        }

    def find(self, image_id: str) -> Path | None:
        """Return an image's map; None where there is none.

        Raises:
            ValueError: If the id leads out of the directory.
        """
        if leaves_folder(image_id):
            raise ValueError(f"the image id {image_id!r} leads out of score_maps={self.directory}")
        stems = dict.fromkeys((image_id, Path(image_id).with_suffix("").as_posix()))
        names = (stem + suffix for stem in stems for suffix in SUFFIXES)
        return next((self.directory / name for name in names if name in self._files), None)

    def check(self, image_ids: Sequence[str], on_missing: OnMissing = "error") -> tuple[list[int], list[str]]:
        """Compare the files with a split's images, without reading any.

        Args:
            image_ids: Of the split.
            on_missing: ``skip`` leaves out images without a map.

        Returns:
            The indices of the images that have a map, and notes for people.

        Raises:
            FileNotFoundError: If images have no map; the message counts them and shows the first.
            ValueError: If an id leads out of the directory, two images share a map, or ``on_missing`` is unknown.
        """
        if on_missing not in ("error", "skip"):
            raise ValueError(f"on_missing must be error or skip, found {on_missing!r}")
        found = [self.find(image_id) for image_id in image_ids]
        present = [index for index, file in enumerate(found) if file is not None]
        missing = [image_ids[index] for index, file in enumerate(found) if file is None]
        if missing and (on_missing == "error" or not present):
            raise FileNotFoundError(
                f"score_maps={self.directory} lacks {len(missing)} of {len(image_ids)} maps: {_shown(missing)}; a map "
                "is named by the whole image id and .npy, .npz or .png. on_missing=skip measures those present"
            )
        used: dict[Path, str] = {}
        for index in present:
            file = found[index] or self.directory
            if (other := used.setdefault(file, image_ids[index])) != image_ids[index]:
                raise ValueError(
                    f"{file} would be the map of {other} and of {image_ids[index]}; name it by the whole id"
                )
        broken = _broken(list(used), self.directory)
        if broken and (on_missing == "error" or len(broken) == len(present)):
            raise ValueError(
                f"score_maps={self.directory}: {len(broken)} of {len(used)} maps cannot be read: "
                f"{_shown(list(broken.values()))}; on_missing=skip leaves them out"
            )
        present = [index for index in present if found[index] not in broken]
        notes = []
        if missing:
            notes.append(f"{len(missing)} of {len(image_ids)} images have no map: {_shown(missing)}.")
        if broken:
            notes.append(f"{len(broken)} maps cannot be read: {_shown(list(broken.values()))}.")
        if missing or broken:
            notes.append(f"Measured on {len(present)} of {len(image_ids)} images.")
        if extra := self._files - {file.relative_to(self.directory).as_posix() for file in used}:
            notes.append(f"{len(extra)} maps belong to no image of the split: {_shown(sorted(extra))}.")
        return present, notes

    def load(self, image_id: str) -> Tensor:
        """Read one map as it is, neither resized nor normalized.

        Returns:
            (H,W) float32, or float64 where the file holds 64 bit floats: rounded to float32, a score just below a grey
            level would be cut as that level. 8 bit levels become levels / 255.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If it does not hold one map of numbers, or is cut off; the message names it.
        """
        path = self.find(image_id)
        if path is None:
            raise FileNotFoundError(f"score_maps={self.directory} has no map of {image_id}")
        return read_map(path)


class MapSample(NamedTuple):
    """An image's ready-made map with what it is measured against."""

    score_map: Tensor
    """(H,W) float at :data:`MAP_SIZE`."""
    truth: EvalSample
    """Its ``image`` is empty."""


class MapBatch(NamedTuple):
    """B ready-made maps."""

    maps: Tensor
    """(B,H,W) float32 or float64."""
    truth: Truth


class MapPredictor:
    """Returns ready-made maps as the maps of the true classes; there are no logits."""

    def predict(self, batch: MapBatch, *, num_ranked: int = 0) -> Prediction:
        """Return a batch's maps.

        Raises:
            ValueError: If maps of other classes are wanted.
        """
        if num_ranked:
            raise ValueError("ready-made maps are those of the true classes; other classes have none")
        return Prediction(batch.truth.pairs, cams=batch.maps)


class MapDataset(Dataset[MapSample]):
    """A split's ready-made maps, each read when asked for; positions beyond the end repeat from the start and say so.

    Maps of another size than :data:`MAP_SIZE` are resized to it once, by cubic interpolation as wsolevaluation does.

    Args:
        maps: The files; every image of the split has one.
        split: What they are measured against.
    """

    def __init__(self, maps: MapFolder, split: SplitTruth) -> None:
        self.maps, self.split = maps, split

    def __len__(self) -> int:
        """Return N."""
        return len(self.split)

    def image_id(self, index: int) -> str:
        """Return an image's name."""
        return self.split.image_id(index)

    def __getitem__(self, position: int) -> MapSample:
        """Return the map at a position that ``EvalSampler`` dealt."""
        truth = self.split.sample(position)
        score_map = self.maps.load(truth.image_id)
        if score_map.shape != MAP_SIZE:
            resized = interpolate(score_map[None, None], MAP_SIZE, mode="bicubic", align_corners=False)[0, 0]
            score_map = resized.clamp(float(score_map.min()), float(score_map.max()))  # cubic overshoots
        return MapSample(score_map, truth)

    def size_notes(self) -> list[str]:
        """Say which sizes the first maps have where they are resized."""
        sizes = {tuple(self.maps.load(self.image_id(index)).shape) for index in range(min(len(self), NUM_SHOWN))}
        other = sorted(size for size in sizes if size != MAP_SIZE)
        shown = ", ".join(f"{width}x{height}" for height, width in other)
        return [f"Maps of {shown} are resized to {MAP_SIZE[1]}x{MAP_SIZE[0]} (cubic)."] if other else []

    @staticmethod
    def collate(samples: Sequence[MapSample]) -> MapBatch:
        """Stack maps."""
        maps, truth = zip(*samples, strict=True)
        # One precision for a batch: float64 holds what float32 does.
        widest = torch.float64 if any(one.dtype == torch.float64 for one in maps) else torch.float32
        return MapBatch(torch.stack([one.to(widest) for one in maps]), collate_truth(truth, MAP_SIZE))


def _broken(files: Sequence[Path], directory: Path) -> dict[Path, str]:
    """Return the files that hold no map, each with the reason; a ``.npy`` is judged by its header and length."""
    broken = {}
    quick = len(files) < SHOW_PROGRESS_FROM
    console = Console(stderr=True)
    for path in track(files, "looking at maps", console=console, transient=True, disable=quick):
        try:
            check_npy(path) if path.suffix == ".npy" else read_map(path)
        except ValueError as error:
            broken[path] = str(error).replace(f"{directory}{os.sep}", "")
    return broken


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:NUM_SHOWN]) + (", ..." if len(names) > NUM_SHOWN else "")

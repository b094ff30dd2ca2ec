"""What ``source=`` means: files, a video, a camera, a stream, or a split of the run's data set."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast, get_args

from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import Subset

from camloc.data.images.decode import read_clipped_image
from camloc.data.images.intensity import Intensity
from camloc.data.loading.datamodule import MAX_DEFAULT_WORKERS, LocalizationDataModule
from camloc.data.loading.split import Split, SplitName
from camloc.data.sources.files import FoundFiles, find_files
from camloc.data.sources.loading import Unlabelled, UnlabelledDataset, Viewing, load, load_frames
from camloc.data.sources.video import VIDEO_SUFFIXES, Video
from camloc.experiment.limits import refuse_few_descriptors


class Opened(NamedTuple):
    """A source, ready to be read once."""

    described: str
    total: int | None
    """How many images; null where that is not known."""
    batches: Callable[[Collection[str]], Iterator[list[Unlabelled]]]
    """Called with the names that are done already, and left out."""
    unreadable: list[tuple[str, str]]
    """What is no image and cannot be entered, with the reason."""
    notes: list[str]
    can_go_on: bool
    """Whether a prediction that was stopped goes on after what is done; a video starts again."""
    ends: bool
    """Whether it has an end of its own; a camera or a stream goes on until it is stopped."""
    frames_per_second: float | None
    """Of a video; null for images."""


def open_source(config: DictConfig, viewing: Viewing, intensity: Intensity | None) -> Opened:
    """Open what ``source`` names.

    Args:
        config: Of the prediction.
        viewing: Prepares images for the network.
        intensity: What becomes black to white of files with more than 8 bits, as in training.

    Raises:
        FileNotFoundError: If there is no such path.
        ValueError: If it holds no image or cannot be opened, or an option has no effect on it.
    """
    source = config.source
    if isinstance(source, str) and source in get_args(SplitName):
        return _split(config, cast("SplitName", source), viewing, intensity)
    is_camera = isinstance(source, int) or source.isdecimal()
    if is_camera or "://" in source or _suffix(source) in VIDEO_SUFFIXES:
        if config.intensity is not None:
            raise ValueError(
                f"intensity has no effect on source={source}, whose frames have 8 bits per channel; leave it out"
            )
        return _video(config, int(source) if is_camera else str(source), viewing)
    if config.every != 1:
        raise ValueError(f"every={config.every} takes each n-th frame of a video, and source={source} is none")
    found = find_files(source)
    dataset = UnlabelledDataset(found.names, partial(_read, found, intensity), viewing)
    return _images(config, f"source: {len(found.names):,} images of {source}", dataset)._replace(
        unreadable=found.unreadable, notes=found.notes, total=len(found.names) + len(found.unreadable)
    )


def _read(found: FoundFiles, intensity: Intensity | None, index: int) -> tuple[Tensor, float]:
    try:
        return read_clipped_image(found.root / found.names[index], intensity)
    except ValueError as error:  # which names the option of data sets
        raise ValueError(str(error).replace("datamodule.intensity", "intensity")) from None


def _read_of(split: Split, index: int) -> tuple[Tensor, float]:
    return split.image(index), 0.0


def _split(config: DictConfig, name: SplitName, viewing: Viewing, intensity: Intensity | None) -> Opened:
    if not config.datamodule:
        raise ValueError(f"source={name} is a split, and the run names no data set; give datamodule=NAME")
    if config.every != 1:
        raise ValueError(f"every={config.every} takes each n-th frame of a video, and source={name} is none")
    if config.intensity is not None:
        raise ValueError(f"intensity is of files; source={name} is shown by datamodule.intensity={config.intensity}")
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    datamodule.use_intensity(None if intensity is None else (intensity.low, intensity.high))
    split = datamodule.split(name)
    names = [split.image_id(index) for index in range(len(split))]
    dataset = UnlabelledDataset(names, partial(_read_of, split), viewing)
    return _images(config, f"source: {len(names):,} images of the split {name}", dataset)


def _images(config: DictConfig, described: str, dataset: UnlabelledDataset) -> Opened:
    workers = config.num_workers
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(MAX_DEFAULT_WORKERS, cores, -(-len(dataset) // config.batch_size))
    refuse_few_descriptors(workers, "num_workers")

    def batches(done: Collection[str]) -> Iterator[list[Unlabelled]]:
        left = [index for index, name in enumerate(dataset.names) if name not in done]
        return load(Subset(dataset, left), config.batch_size, workers)

    return Opened(described, len(dataset), batches, [], [], can_go_on=True, ends=True, frames_per_second=None)


def _video(config: DictConfig, source: str | int, viewing: Viewing) -> Opened:
    video = Video(
        str(Path(source).expanduser()) if isinstance(source, str) and "://" not in source else source, config.every
    )
    frames = "frames" if video.num_frames is None else f"about {video.num_frames:,} frames"
    kind = "" if video.is_file else ", until Ctrl-C"

    def batches(done: Collection[str]) -> Iterator[list[Unlabelled]]:  # noqa: ARG001 - a video starts again
        return load_frames(video, viewing, config.batch_size)

    return Opened(
        f"source: {frames} of {video.name}{kind}",
        video.num_frames,
        batches,
        [],
        [],
        can_go_on=False,
        ends=video.is_file,
        frames_per_second=video.frames_per_second / config.every,
    )


def _suffix(source: str) -> str:
    found = re.search(r"\.\w+$", source)
    return found[0].lower() if found else ""

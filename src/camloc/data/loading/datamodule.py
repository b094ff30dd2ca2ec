"""Loaders over a data set's splits: seeded, exact under DDP, uint8 all the way to the device."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict, TypeVar, Unpack

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from camloc.data.features import FeatureFile
from camloc.data.images.intensity import IntensityOption
from camloc.data.images.transforms import EvalKind, EvalTransform, TrainKind, TrainTransform
from camloc.data.loading.copies import OnCopies
from camloc.data.loading.dataset import BoxedTrainDataset, EvalDataset, TrainDataset
from camloc.data.loading.dealing import Dealt
from camloc.data.loading.intensity_choice import IntensityChoice, set_intensity
from camloc.data.loading.pseudo_boxed import with_pseudo_boxes
from camloc.data.loading.sample import (
    BoxedTrainSample,
    EvalSample,
    TrainSample,
    collate_boxed_train,
    collate_eval,
    collate_train,
)
from camloc.data.loading.samplers import EvalSampler, TrainSampler
from camloc.data.loading.split import Split, SplitName, Subset
from camloc.data.loading.views import FeatureDataset, FeatureSample, Views, collate_features
from camloc.data.loading.whole_split import class_counts

MAX_DEFAULT_WORKERS = 8

Sample = TypeVar("Sample", TrainSample, BoxedTrainSample, EvalSample, FeatureSample)


class LoaderOptions(TypedDict, total=False):
    """Options that every data module takes."""

    input_size: Annotated[int, Ge(1)] | None
    """Side of the square network input, pixels; null, the default, takes the size that the backbone was made for."""
    batch_size: Annotated[int, Ge(1)]
    """Images per process and step. Default 64."""
    crop_area: Sequence[Annotated[float, Gt(0), Le(1)]]
    """Smallest and largest share of an image's area that a training crop covers. Default (0.3, 1)."""
    train_transform: TrainKind
    """``random_resized_crop``, the default, or ``resize_crop``."""
    eval_transform: EvalKind
    """``warp``, the default, or ``centre_crop``."""
    num_workers: Annotated[int, Ge(0)] | None
    """Loader processes; null takes the cores this process may use, 8 at most."""
    seed: Annotated[int, Ge(0)]
    """Of the order and the augmentation of training images. Default 0."""
    intensity: IntensityOption
    """What becomes black to white of images with more than 8 bits per channel: ``full``, the default, what each file's
    type can hold; ``auto`` one range for the data set, read off training images; or a range ``[low, high]``."""
    pseudo_boxes: str | None
    """In place of the true boxes of ``val``, which are not read then: a folder with ``val/localization.txt``, or
    ``border_contrast``, boxes made of the images. Null, the default, for true boxes."""


class LocalizationDataModule(LightningDataModule, ABC):
    """Base of all data modules: a data set implements ``load_split`` and names its classes.

    Args:
        class_names: (C,) the name of each class, in the order of ``target``.
        options: See ``LoaderOptions``.

    Raises:
        ValueError: If an option lies outside its range.
    """

    devkit_ids: Sequence[int] | None = None
    """(C,) labels of the classes in ILSVRC's submission files; null for other data."""
    several_labels: bool = False
    """Whether images have several labels, or none: ``target`` is then (C,) bool."""
    one_label_hint: str = ""
    """What an option would do to give each image one label, for messages; empty where none does."""
    objectless: frozenset[int] = frozenset()
    """Classes without objects, 0-based: no box is known of them, and a predicted one gives no box."""
    on_copies: OnCopies | None = None
    """What becomes of a file that is in two splits, or in one under two classes: ``error``, or ``leave_out``, which the
    data set does itself. Null, of official data sets: a few of them are a warning."""
    split_names: tuple[SplitName, ...] = ("train", "val", "test")
    """Of the splits that there are."""

    def __init__(self, class_names: Sequence[str], **options: Unpack[LoaderOptions]) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.input_size = options.get("input_size")
        self.batch_size = options.get("batch_size", 64)
        self.num_workers = options.get("num_workers")
        self.seed = options.get("seed", 0)
        for name, least in (("input_size", 1), ("batch_size", 1), ("seed", 0), ("num_workers", 0)):
            value = getattr(self, name)
            if value is None and name in ("input_size", "num_workers"):
                continue
            if not (isinstance(value, int) and value >= least):
                raise ValueError(f"datamodule.{name} must be at least {least} and a whole number, found {value!r}")
        crop_area = _crop_area(options.get("crop_area", (0.3, 1.0)))
        train_kind = options.get("train_transform", "random_resized_crop")
        self.train_transform = TrainTransform(self.input_size, crop_area, train_kind)
        self.eval_transform = EvalTransform(self.input_size, options.get("eval_transform", "warp"))
        self.notes: list[str] = []
        """Remarks on the files that were found, for the summary before a run."""
        self._intensity = IntensityChoice(options.get("intensity", "full"), self.notes)
        self._splits: dict[SplitName, Split] = {}
        self._resume_at = (0, 0)
        self._reshuffles = True
        self._features: tuple[Views, FeatureFile] | None = None
        self.pseudo_boxes = options.get("pseudo_boxes")
        """What stands in for the true boxes of ``val``; null where these are read."""
        self.trains_with_boxes = False
        """Whether training sees true boxes; a data set reads those of ``train`` only then."""
        self.dealt: Dealt | None = None
        """Where images were dealt by a hash of their names; null where files or folders say their splits."""

    @abstractmethod
    def load_split(self, name: SplitName) -> Split:
        """Read or generate a split, its boxes and masks only if :meth:`reads_boxes`; once per split and process."""

    def reads_boxes(self, name: SplitName) -> bool:
        """Tell whether the true boxes and masks of a split may be read."""
        if name == "train":
            return self.trains_with_boxes
        return name == "test" or self.pseudo_boxes is None

    def split(self, name: SplitName) -> Split:
        """Return a split, loading it on first use.

        Raises:
            ValueError: If the split holds no image.
        """
        if name not in self._splits:
            split = self.load_split(name)
            if len(split) == 0:
                raise ValueError(f"the {name} split of {type(self).__name__} holds no image")
            if name != "train" and isinstance(split.gt_boxes(0), Tensor):
                raise TypeError(
                    f"gt_boxes of the {name} split of {type(self).__name__} returns a tensor; return a list with one "
                    "tensor (M,4) for each true class of the image, [boxes] where images have one label"
                )
            set_intensity(split, self._intensity.of(name, split, self.split))
            self._splits[name] = self._with_pseudo_boxes(split) if name == "val" else split
        return self._splits[name]

    def _with_pseudo_boxes(self, val: Split) -> Split:
        if self.pseudo_boxes is None:
            return val
        self.notes.append(
            f"the boxes of val are pseudo boxes ({self.pseudo_boxes}), made without people; true boxes are not read"
        )
        return with_pseudo_boxes(val, self.pseudo_boxes)

    @property
    def chosen_intensity(self) -> tuple[float, float] | None:
        """The range that ``intensity=auto`` chose; null where it met no image of more than 8 bits per channel."""
        return self._intensity.chosen

    def use_intensity(self, chosen: tuple[float, float] | None) -> None:
        """Show images as those that a network was trained on, instead of what ``intensity=auto`` chooses here."""
        self._intensity.use(chosen)
        for name, split in self._splits.items():
            set_intensity(split, self._intensity.of(name, split, self.split))

    def leave_out(self, name: SplitName, indices: Sequence[int]) -> None:
        """Remove images from a split.

        Raises:
            ValueError: If none is left.
        """
        split = self.split(name)
        kept = np.setdiff1d(np.arange(len(split)), indices)
        if not len(kept):
            raise ValueError(f"no image of the {name} split can be read")
        self._splits[name] = Subset(split, kept)

    def use_input_size(self, size: int) -> None:
        """Load images at this size, pixels, unless ``input_size`` was given; call it before loaders are made."""
        if self.input_size is None:
            self.input_size = self.train_transform.input_size = self.eval_transform.input_size = size

    def enlarge_evaluation(self, image_size: Callable[[int], int]) -> None:
        """Load the images of ``val`` and ``test`` larger than the network's input, which views then cut out of them.

        Args:
            image_size: From the side of the network's input to the side of the image, pixels.
        """
        self.eval_transform.input_size = image_size(self._known_size())

    def repeat_first_epoch(self) -> None:
        """Train on the same images in the same order in every epoch, to see whether a network learns them."""
        self._reshuffles = False

    def train_with_boxes(self) -> None:
        """Give training the true boxes, for an objective of full supervision; call it before ``train`` is loaded."""
        self.trains_with_boxes = True

    def views(self, name: SplitName, count: int = 1) -> Views:
        """Return the views of a split's images that features are kept of, see :class:`Views`."""
        evaluation = EvalTransform(self._known_size(), self.eval_transform.kind)
        return Views(self.split(name), count, evaluation, self.train_transform, self.seed)

    def train_on_features(self, views: Views, file: FeatureFile) -> None:
        """Train on kept features of ``train`` in place of its images; the file is read when training begins.

        Args:
            views: Of ``train``, as :meth:`views` returns them.
            file: Their features.
        """
        self._features = (views, file)

    def class_counts(self) -> list[int]:
        """Return the number of training images that show each of the C classes."""
        counts: list[int] = class_counts(self.split("train"), self.num_classes).tolist()
        return counts

    def resume(self, epoch: int, num_batches: int) -> None:
        """Start the next training where another one stopped.

        Loaders draw ahead, before Lightning restores its own position, so they need to know.

        Args:
            epoch: The epoch to start in.
            num_batches: How many of its batches each process has trained on already.
        """
        self._resume_at = (epoch, num_batches)

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    def train_dataloader(self) -> DataLoader[TrainSample] | DataLoader[BoxedTrainSample] | DataLoader[FeatureSample]:
        """Return shuffled, augmented training batches: without boxes, unless :meth:`train_with_boxes` was called.

        They are of features where :meth:`train_on_features` was called.
        """
        self._known_size()
        split = self.split("train")
        sampler = TrainSampler(len(split), self.seed, *self._processes(), reshuffle=self._reshuffles)
        epoch, batches = self._resume_at
        sampler.resume(epoch, batches * self.batch_size)
        if self._features is not None:  # from memory: a process that loads them would only copy them once more
            return self._loader(FeatureDataset(*self._features), sampler, collate_features, workers=0)
        if self.trains_with_boxes:
            return self._loader(BoxedTrainDataset(split, self.train_transform), sampler, collate_boxed_train)
        return self._loader(TrainDataset(split, self.train_transform), sampler, collate_train)

    def val_dataloader(self) -> DataLoader[EvalSample]:
        """Return the batches on which thresholds and checkpoints are chosen."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[EvalSample]:
        """Return the batches on which results are reported."""
        return self._eval_loader("test")

    def _eval_loader(self, name: SplitName) -> DataLoader[EvalSample]:
        self._known_size()
        split = self.split(name)
        dataset = EvalDataset(split, self.eval_transform)
        return self._loader(dataset, EvalSampler(len(split), *self._processes()), collate_eval)

    def _loader(
        self,
        dataset: Dataset[Sample],
        sampler: Sampler[Any],
        collate: Callable[[list[Sample]], Any],
        workers: int | None = None,
    ) -> DataLoader[Sample]:
        workers = self.workers_per_loader() if workers is None else workers
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
        )

    def workers_per_loader(self) -> int:
        """Return the number of processes that each loader of this process starts."""
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(MAX_DEFAULT_WORKERS, max(1, cores // self._processes()[0]))

    def _known_size(self) -> int:
        if self.input_size is None:
            raise ValueError(
                "datamodule.input_size is null and no backbone has set it; call use_input_size with the size that the "
                "backbone was made for, or give datamodule.input_size"
            )
        return self.input_size

    def _processes(self) -> tuple[int, int]:
        """Return (world size, rank); one process outside a trainer."""
        if self.trainer is None:
            return 1, 0
        return self.trainer.world_size, self.trainer.global_rank


def _crop_area(given: Any) -> tuple[float, float]:  # noqa: ANN401 - whatever was configured
    try:
        smallest, largest = (float(share) for share in given)
    except (TypeError, ValueError):
        smallest, largest = 0.0, 0.0
    if not 0 < smallest <= largest <= 1:
        raise ValueError(f"datamodule.crop_area must be two ascending shares in (0, 1], found {given}")
    return smallest, largest

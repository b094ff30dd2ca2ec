"""One range of intensity for all splits of a data set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camloc.data.images.intensity import Intensity, given_intensity
from camloc.data.images.intensity_sample import any_is_deep, sample_files, sample_intensity
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName, Subset

_EIGHT_BITS = Intensity(0, 255, is_given=False)


class IntensityChoice:
    """What becomes black to white, for each split as it is loaded.

    With ``auto`` it is chosen once, on training images, and only where there are images of more than 8 bits per
    channel; files of JPEG alone are not opened.

    Args:
        option: ``auto``, ``full`` or ``[low, high]``.
        notes: Gets a remark on what was chosen.

    Raises:
        ValueError: If the option is none of these.
    """

    def __init__(self, option: Any, notes: list[str]) -> None:  # noqa: ANN401 - whatever was configured
        self._given, self._is_auto, self._notes = given_intensity(option), option == "auto", notes
        self._sampled: Intensity | None = None
        self._note: str | None = None

    @property
    def chosen(self) -> tuple[float, float] | None:
        """What ``auto`` chose; null where it was not asked, or met no image of more than 8 bits."""
        if self._sampled is None or self._sampled == _EIGHT_BITS:
            return None
        return float(self._sampled.low), float(self._sampled.high)

    def use(self, chosen: tuple[float, float] | None) -> None:
        """Take what another run chose, if ``auto`` is to choose."""
        if self._is_auto and chosen is not None:
            low, high = chosen
            note = f"of images with more than 8 bits, {low:g} to {high:g} becomes black to white, as in training"
            self._set(Intensity(low, high, is_given=False), note)

    def of(self, name: SplitName, split: Split, load: Callable[[SplitName], Split]) -> Intensity | None:
        """Return the range for a split; null for that of each file's type.

        Args:
            name: Of the split.
            split: Whose images are files, else no range matters.
            load: Loads ``train``, which then has been asked here before it returns.

        Raises:
            ValueError: If ``auto`` cannot choose for values like these.
        """
        files = _files(split)
        if files is None or not self._is_auto:
            return self._given
        if self._sampled is None:
            drawn = [files.root / file for file in sample_files(files.files)]
            if name == "train":
                self._sample(drawn, "training images")
            elif any_is_deep(drawn):
                try:
                    load("train")
                except (OSError, ValueError):  # of a data set with nothing but images to measure
                    self._sample(drawn, f"{name} images")
        return self._sampled or _EIGHT_BITS

    def _sample(self, drawn: list[Path], images: str) -> None:
        self._set(*sample_intensity(drawn, images))

    def _set(self, intensity: Intensity, note: str | None) -> None:
        if self._note in self._notes:
            self._notes.remove(self._note)
        self._sampled, self._note = intensity, note
        if note is not None:
            self._notes.append(note)


def set_intensity(split: Split, intensity: Intensity | None) -> None:
    """Show the images of a split in this range, where they are files."""
    files = _files(split)
    if files is not None:
        files.intensity = intensity


def _files(split: Split) -> FileSplit | None:
    while isinstance(split, Subset):
        split = split.whole
    return split if isinstance(split, FileSplit) else None

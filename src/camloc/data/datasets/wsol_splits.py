"""Splits whose images, labels and boxes are those that wsolevaluation's metadata name."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from camloc.data.annotations.mask_files import refuse_missing
from camloc.data.datasets.wsol_metadata import WsolMetadata, leaves_folder
from camloc.data.loading.files import FileSplit


def wsol_split(
    root: Path,
    metadata: Path,
    class_folders: Sequence[str],
    locate: Callable[[str], str] = str,
    option: str = "datamodule.root",
    *,
    with_boxes: bool = True,
) -> FileSplit:
    """Read a split with boxes; its image ids stay the metadata's, so that score maps find their images.

    Args:
        root: Folder that the images are below.
        metadata: The split's folder with ``image_ids.txt``, ``class_labels.txt``, ``image_sizes.txt`` and
            ``localization.txt``.
        class_folders: (C,) names of the classes' folders in the order of ``target``. An image that lies in one of
            them must have its class; others are not checked.
        locate: From an image id to the image's file below ``root``; the id itself where they are the same.
        option: What names ``root`` in messages.
        with_boxes: Whether ``localization.txt`` is read.

    Raises:
        FileNotFoundError: If the folder, one of its files or an image is missing.
        ValueError: If a line is malformed, an image lies outside ``root``, or a label is not the data set's.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "cat").mkdir()
        ...     Path(folder, "cat", "1.jpg").touch()
        ...     for name, value in [("image_ids", ""), ("class_labels", ",0"), ("image_sizes", ",9,9")]:
        ...         _ = Path(folder, f"{name}.txt").write_text(f"cat/1.jpg{value}")
        ...     _ = Path(folder, "localization.txt").write_text("cat/1.jpg,0,2,4,4")
        ...     split = wsol_split(Path(folder), Path(folder), class_folders=["cat"])
        >>> split.image_id(0), split.target(0), split.gt_boxes(0)
        ('cat/1.jpg', 0, [tensor([[0., 2., 5., 5.]])])
    """
    if not metadata.is_dir():
        raise FileNotFoundError(
            f"datamodule.metadata={metadata.parent} has no folder {metadata.name}; "
            "give the data set's folder in the metadata of wsolevaluation"
        )
    listed = WsolMetadata(str(metadata), unannotated=not with_boxes)
    if listed.num_classes > len(class_folders):
        raise ValueError(
            f"{metadata / 'class_labels.txt'} labels classes up to {listed.num_classes - 1}, and the data set has "
            f"{len(class_folders)}; give all classes of the data set as {option}"
        )
    image_ids = [listed.image_id(index) for index in range(len(listed))]
    targets = [listed.target(index) for index in range(len(listed))]
    files = [locate(image_id) for image_id in image_ids]
    target_of = {folder: target for target, folder in enumerate(class_folders)}
    for number, (image_id, file, target) in enumerate(zip(image_ids, files, targets, strict=True), start=1):
        if leaves_folder(file):
            raise ValueError(f"{metadata / 'image_ids.txt'}, line {number}: {image_id} lies outside {root}")
        folder = PurePosixPath(file).parent.name
        if target_of.get(folder, target) != target:
            raise ValueError(
                f"{metadata / 'class_labels.txt'}: {image_id} has class {target}, {class_folders[target]}, and lies in "
                f"{folder}, class {target_of[folder]}; give the metadata of this data set and all its class folders"
            )
    encoded = np.array([file.encode() for file in files], dtype=np.bytes_)
    refuse_missing(root, encoded, f"{metadata / 'image_ids.txt'} names; see {option}")
    boxes = [listed.gt_boxes(index).numpy() for index in range(len(listed))] if with_boxes else None
    return FileSplit(root, image_ids, targets, boxes, files=encoded)

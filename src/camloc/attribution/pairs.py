"""What attribution methods share about (image, class) pairs: their check, and rounds of one pair per image."""

import torch
from torch import Tensor

from camloc.records import Pairs


def check_pairs(pairs: Pairs, num_images: int, num_classes: int) -> None:
    """Refuse pairs that name no image or no class.

    Indexing would take a negative one from the end, and one too large would stop the whole process on CUDA.

    Raises:
        ValueError: The two are not (P,), or an index is out of range.
    """
    if pairs.image_index.ndim != 1 or pairs.image_index.shape != pairs.classes.shape:
        raise ValueError(
            "a pair is an image index and a class, both (P,), "
            f"found {tuple(pairs.image_index.shape)} and {tuple(pairs.classes.shape)}"
        )
    for name, indices, count in (
        ("image_index", pairs.image_index, num_images),
        ("classes", pairs.classes, num_classes),
    ):
        outside = indices[(indices < 0) | (indices >= count)]
        if len(outside) > 0:
            raise ValueError(f"{name} of pairs must lie in 0..{count - 1}, found {outside.tolist()}")


def rounds(pairs: Pairs) -> list[Tensor]:
    """Sort pairs into rounds, in each of which an image occurs once at most.

    Returns:
        The places among the pairs that belong to each round, by ascending image; as many rounds as the image with
        the most pairs needs. A round with all images thus lists them in the order of the batch.

    Example:
        >>> rounds(Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([5, 6, 7])))
        [tensor([1, 0]), tensor([2])]
    """
    by_image = pairs.image_index.argsort(stable=True)
    images = pairs.image_index[by_image]
    # How many pairs of the same image come before.
    earlier = torch.arange(len(images), device=images.device) - torch.searchsorted(images, images)
    num_rounds = int(earlier.max()) + 1 if len(images) > 0 else 0
    return [by_image[earlier == number] for number in range(num_rounds)]

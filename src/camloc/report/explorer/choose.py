"""Which images a report shows: all, or a part that does not depend on what became of them."""

from collections.abc import Sequence

import torch

MAX_IMAGES = 2000
_NO_CLASS = -1


def choose_images(classes: Sequence[Sequence[int]], max_images: int) -> list[int]:
    """Choose images evenly by class: classes take turns, and each gives its images in an order drawn with seed 0.

    The same images are chosen for any number of processes, and for every network: runs can be compared image by image.

    Args:
        classes: True classes of each of N images, several where images have several labels; images without any take
            turns as a class of their own.
        max_images: At most this many.

    Returns:
        Ascending places.

    Example:
        >>> choose_images([[0]] * 8 + [[1]] * 2, 4)  # two of each class
        [1, 4, 8, 9]
        >>> choose_images([[0], [0, 1], []], 5)
        [0, 1, 2]
    """
    if len(classes) <= max_images:
        return list(range(len(classes)))
    queues: dict[int, list[int]] = {}
    for place in torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).tolist():
        for class_index in classes[place] or [_NO_CLASS]:
            queues.setdefault(class_index, []).append(place)
    chosen: set[int] = set()
    waiting = [iter(queues[class_index]) for class_index in sorted(queues)]
    while waiting and len(chosen) < max_images:
        still = []
        for queue in waiting:
            place = next((place for place in queue if place not in chosen), None)
            if place is None:
                continue
            still.append(queue)
            chosen.add(place)
            if len(chosen) == max_images:
                break
        waiting = still
    return sorted(chosen)


def rule_text(num_shown: int, num_images: int) -> str:
    """Say by which rule images were chosen.

    Example:
        >>> rule_text(4, 4)
        'All 4 test images.'
    """
    if num_shown == num_images:
        return f"All {num_images:,} test images."
    return (
        f"{num_shown:,} of the {num_images:,} test images, drawn evenly by class with a fixed seed, whatever became of "
        "them; report.max_images shows more. Errors are of all images."
    )

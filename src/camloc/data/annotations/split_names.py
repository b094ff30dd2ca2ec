"""Which split a file, a folder or a field of a table means."""

import re

from camloc.data.loading.split import SplitName

TRAINVAL = "trainval"
"""What formats call the images that are to be divided into ``train`` and ``val``."""
_NAMES: dict[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("trainval", "train_val", "trainvalid"), TRAINVAL),
}
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def split_of(name: str) -> str:
    """Return ``train``, ``val``, ``test`` or ``trainval``; empty where a name says none of them, or several.

    Example:
        >>> [split_of(name) for name in ("valid", "instances_train2017", "Train_Val_list", "latest", "train vs test")]
        ['val', 'train', 'trainval', '', '']
    """
    plain = re.sub(r"train[_-]val(?:id)?(?=[^a-z]|$)", TRAINVAL, name.casefold())
    words = re.findall(r"[a-z]+", plain)
    found = {_NAMES[word] for word in words if word in _NAMES}
    return found.pop() if len(found) == 1 else ""

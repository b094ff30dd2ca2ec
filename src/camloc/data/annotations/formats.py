"""Every format of a whole data set: each module of this package that has a reader of one."""

import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from camloc.data import annotations
from camloc.data.annotations.set_files import has_class_folders
from camloc.data.annotations.table import SetReader

AUTO = "auto"


def readers() -> dict[str, SetReader]:
    """Return the readers by the names of their formats, sorted.

    Example:
        >>> "coco" in readers()
        True
    """
    modules = [import_module(f"{annotations.__name__}.{module.name}") for module in iter_modules(annotations.__path__)]
    kinds = [kind for module in modules for kind in vars(module).values() if _is_reader(kind, module.__name__)]
    return {kind.name: kind() for kind in sorted(kinds, key=lambda kind: kind.name)}


def chosen_reader(name: str, root: Path) -> tuple[SetReader, str]:
    """Return the reader of a format, and what it recognised in words.

    Args:
        name: Of the format; ``auto`` takes the only one that is recognised.
        root: The data set's folder.

    Raises:
        ValueError: If there is no such format; with ``auto``, if none is recognised, naming what was looked for, or
            several are.
    """
    known = readers()
    if name != AUTO:
        if name not in known:
            raise ValueError(f"datamodule.format={name} is none of {', '.join([AUTO, *known])}")
        return known[name], known[name].recognise(root) or name
    found = {name: words for name, reader in known.items() if (words := reader.recognise(root))}
    if not found:
        wanted = "; ".join(f"{reader.name}: {reader.wanted}" for reader in known.values())
        missed = [words for reader in known.values() if (words := reader.missed(root))]
        if has_class_folders(root):
            missed.append("folders of images, which are classes to datamodule=folder")
        found_there = f"; found {', '.join(missed)}" if missed else ""
        raise ValueError(f"datamodule.root={root} has annotation in no known format; looked for {wanted}{found_there}")
    if len(found) > 1:
        shown = "; ".join(f"format={name}: {words}" for name, words in found.items())
        raise ValueError(f"datamodule.root={root} has annotation in several formats; choose one: {shown}")
    ((name, words),) = found.items()
    return known[name], words


def _is_reader(kind: object, module: str) -> bool:
    is_class = inspect.isclass(kind) and issubclass(kind, SetReader)
    return is_class and kind.__module__ == module and not inspect.isabstract(kind)

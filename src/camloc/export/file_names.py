"""Names of files that are written for images, one for each."""

from pathlib import Path, PurePosixPath


class Stems:
    """Gives each image the path of its name without the extension, as tools match files; a repeat keeps the extension.

    Example:
        >>> stems = Stems()
        >>> stems.of("a/1.jpg"), stems.of("a/1.png"), stems.repeats
        ('a/1', 'a/1.png', 1)
    """

    def __init__(self) -> None:
        self._given: set[str] = set()
        self.repeats = 0
        """How many images have the name of another but for the extension."""

    def of(self, name: str) -> str:
        """Return a name that was not given before."""
        stem = str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).suffix else name
        if stem in self._given:
            self.repeats += 1
            stem = name
        self._given.add(stem)
        return stem


def place(folder: Path, name: str) -> Path:
    """Return the file of a name below a folder, with the folders that it lies in made.

    Raises:
        ValueError: If the name leads out of the folder.
    """
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the image name {name!r} leads out of {folder}")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file

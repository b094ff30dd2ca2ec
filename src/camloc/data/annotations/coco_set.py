"""COCO as a whole data set: one json, one for each split in ``annotations/``, or one in each split's folder."""

from pathlib import Path

from camloc.data.annotations.coco import add_coco
from camloc.data.annotations.problems import collecting
from camloc.data.annotations.set_files import beginning, image_folder, in_places
from camloc.data.annotations.split_names import split_of
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.annotations.table_cache import cached_table

KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"info"', b'"licenses"')


class CocoSet(SetReader):
    """COCO json, also as Roboflow, CVAT and Label Studio export it.

    Where there are files ``instances_*.json``, the others in their folder are of other tasks and are not read.

    Example:
        >>> CocoSet().recognise(Path("nowhere"))
    """

    name = "coco"
    wanted = "annotations/*.json, a json, or <split>/_annotations.coco.json, with images, annotations and categories"

    def recognise(self, root: Path) -> str | None:
        """Name the files."""
        files = self._files(root)
        return f"COCO, {', '.join(str(file.relative_to(root)) for file in files)}" if files else None

    def read(self, root: Path) -> AnnotatedImages:
        """Read all files; a split is what a file or its folder is called by."""
        files = self._files(root)
        if not files:
            raise FileNotFoundError(f"datamodule.root={root} has no COCO json: {self.wanted}")

        def read() -> AnnotatedImages:
            table = TableBuilder()
            for file in files:
                folder, split = image_folder(root, file)
                with collecting(table.problems):
                    add_coco(file, table, split, folder)
            return table.build()

        return cached_table(files, f"{self.name} {root.resolve()}", read)

    def _files(self, root: Path) -> list[Path]:
        found = [file for file in in_places(root, ".json") if _is_coco(file)]
        instances = [file for file in found if file.name.startswith("instances")]
        folders = {file.parent for file in instances}
        kept = [file for file in found if file in instances or file.parent not in folders]
        # One file for all splits and one for each of them would give every image twice.
        by_split = [file for file in kept if split_of(file.stem) or file.parent != root]
        return by_split if any(split_of(file.stem) for file in by_split) else kept


def _is_coco(file: Path) -> bool:
    start = beginning(file)
    return start.lstrip().startswith(b"{") and any(key in start for key in KEYS)

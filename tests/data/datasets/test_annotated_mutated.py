"""Annotation files with a few bytes changed: each gives a data set or one error in words, whatever was hit."""

import random
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest

from camloc.data.datasets.annotated import Annotated

WRITERS: dict[str, Callable[[Path], None]] = run_path(str(Path(__file__).with_name("annotated_trees.py")))["WRITERS"]
SUFFIXES = (".xml", ".json", ".csv", ".txt")
PIECES = (
    b"",
    b"\0",
    b"\xff",
    b'"',
    b"<",
    b">",
    b"{",
    b"[",
    b"]",
    b",",
    b"\n",
    b"-",
    b"9" * 400,
    b"1e999",
    b"null",
    b"NaN",
)
COUNT = 110


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Replace a few short pieces, cut the end off, or repeat a part."""
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content) + 1)
        content = content[:place] + draw.choice(PIECES) + content[place + draw.randint(0, 6) :]
    kind = draw.random()
    if kind < 0.1:
        content = content[: draw.randrange(len(content) + 1)]
    elif kind < 0.2:
        start = draw.randrange(len(content) + 1)
        content += content[start : start + 40]
    return content


@pytest.mark.parametrize("kind", WRITERS)
def test_every_mutation_is_read_or_refused_in_words(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path)
    files = sorted(file for file in tmp_path.rglob("*") if file.suffix in SUFFIXES)
    said = []
    for seed in range(COUNT):
        draw = random.Random(seed)
        file = draw.choice(files)
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, draw))
        try:
            datamodule = Annotated(str(tmp_path), {"roboflow_coco": "coco"}.get(kind, kind))
            for name in datamodule.split_names:
                datamodule.split(name)
        except (OSError, ValueError) as error:
            said.append(str(error).strip())
        finally:
            file.write_bytes(whole)
    assert all(said)
    assert len(said) > COUNT // 4

"""Annotation files with a few bytes changed: each gives a data set or one error in words, whatever was hit."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # no types published

from camloc.data.datasets.annotated import Annotated

WRITERS: dict[str, Callable[[Path], None]] = run_path(str(Path(__file__).with_name("annotated_trees.py")))["WRITERS"]
ANNOTATION = (".xml", ".json", ".csv", ".txt", ".yaml")
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
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    2**70,
    -(2**63),
    "",
    "x",
    [],
    {},
    [None],
    {"a": 1},
    math.nan,
    "../x",
    "\0",
    ["x", 1],
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


def places_in(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    """Return every list and object with each of its places."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places_in(value[key]))]


def restructured(content: bytes, draw: random.Random) -> bytes:
    """Remove, repeat or replace values of JSON or YAML, which stays JSON or YAML."""
    whole = yaml.safe_load(content)
    for _ in range(draw.randint(1, 2)):
        holder, key = draw.choice(places_in(whole))
        kind = draw.random()
        if kind < 0.2:
            del holder[key]
        elif kind < 0.3 and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = draw.choice(VALUES)
    return json.dumps(whole).encode()


@pytest.mark.parametrize("kind", WRITERS)
def test_every_mutation_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path)
    written = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    files = [file for file in written if file.suffix in ANNOTATION or file.parent.parent.name == "masks"]
    said = []
    for seed in range(COUNT):
        draw = random.Random(seed)
        file = draw.choice(files)
        whole = file.read_bytes()
        change = restructured if file.suffix in (".json", ".yaml") and seed % 2 else mutated
        file.write_bytes(change(whole, draw))
        try:
            datamodule = Annotated(str(tmp_path), {"roboflow_coco": "coco"}.get(kind, kind))
            for name in datamodule.split_names:
                split = datamodule.split(name)
                for index in range(len(split)):
                    split.masks(index)
        except (OSError, ValueError) as error:
            said.append(str(error))
        finally:
            file.write_bytes(whole)
    assert [line for line in said if not line.strip() or line.splitlines() != [line]] == []
    names = {name for file in written for name in (file.name, file.stem)}  # of the data set, or of a file in it
    assert [line for line in said if not any(name in line for name in (*names, "annotation"))] == []
    assert len(said) > COUNT // 4

from pathlib import Path

from camloc.experiment.misses import misses_by_class, misses_by_size

PREDICTIONS = """image_id,true_class,cause,object_share
a,cow,hit,0.05
b,"crane, the bird",no box,0.3
c,cow,too small (part),0.25
d,"crane, the bird",hit,1.0
"""


def counts(file: Path, *, by_size: bool) -> dict[str, dict[str, int]]:
    rows = misses_by_size(file) if by_size else misses_by_class(file, ["cow", "crane, the bird", "dog", "cow"])
    return {
        row.group: {cause: count for cause, count in zip(row.causes, row.counts, strict=True) if count} for row in rows
    }


def test_causes_are_counted_by_size_and_by_class(tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text(PREDICTIONS)
    assert counts(file, by_size=True) == {
        "under 10%": {"hit": 1},
        "10 to 25%": {},
        "25 to 50%": {"no box": 1, "too small (part)": 1},
        "50% and more": {"hit": 1},
    }
    assert counts(file, by_size=False) == {
        "cow": {"hit": 1, "too small (part)": 1},
        "crane, the bird": {"hit": 1, "no box": 1},
        "dog": {},
    }

import csv
from pathlib import Path

import torch

from camloc.export.csv_file import read_csv
from camloc.export.predictions_csv import COLUMNS, write_predictions
from camloc.records import PairRecords

NAMES = ("ant", "bee, wild", "cat")


def records() -> PairRecords:
    return PairRecords(
        image_ids=["a/1.jpg", "a/2.jpg"],
        classes=torch.tensor([1, 0]),
        predicted=torch.tensor([[1, 0], [2, 1]]),
        rank=torch.tensor([0, 2]),
        boxes=torch.tensor([[1.5, 2.0, 10.25, 20.0], [0.0, 0.0, 0.0, 0.0]]),
        iou=torch.tensor([[0.25, 0.75], [0.0, 0.0]], dtype=torch.float64),
        cam_thresholds=[0.1, 0.2],
        cam_threshold=0.1,
        causes=torch.tensor([3, 2]),
        object_shares=torch.tensor([0.5, 0.125], dtype=torch.float64),
    )


def test_a_row_for_every_pair(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", records(), NAMES)
    first, second = read_csv(tmp_path / "p.csv")
    assert tuple(first) == COLUMNS
    assert first == {
        "image_id": "a/1.jpg",
        "true_class": "bee, wild",
        "prediction_1": "bee, wild",
        "prediction_2": "ant",
        "prediction_3": "",
        "prediction_4": "",
        "prediction_5": "",
        "rank": "0",
        "x0": "1.5",
        "y0": "2",
        "x1": "10.25",
        "y1": "20",
        "iou": "0.250000",
        "best_iou": "0.750000",
        "best_cam_threshold": "0.2",
        "cause": "too small (part)",
        "object_share": "0.500000",
    }
    assert (second["rank"], second["cause"], second["best_cam_threshold"]) == ("2", "no box", "0.1")


def test_what_is_unknown_stays_empty(tmp_path: Path) -> None:
    unknown = records()._replace(predicted=None, rank=None, boxes=None, iou=None, causes=None, object_shares=None)
    write_predictions(tmp_path / "p.csv", unknown, NAMES)
    first, _ = read_csv(tmp_path / "p.csv")
    assert {key: value for key, value in first.items() if value} == {"image_id": "a/1.jpg", "true_class": "bee, wild"}


def test_a_name_that_is_no_text_is_written_as_its_bytes(tmp_path: Path) -> None:
    odd = records()._replace(image_ids=["caf\udce9.jpg", "b.jpg"])
    write_predictions(tmp_path / "p.csv", odd, NAMES)
    assert b"caf\xe9.jpg" in (tmp_path / "p.csv").read_bytes()


def test_names_split_no_cell_and_are_no_formulas(tmp_path: Path) -> None:
    names = ("=1+1", "+a|b", "@c, d")
    write_predictions(tmp_path / "p.csv", records()._replace(image_ids=["-2/1.jpg", "'=b.jpg"]), names)
    first, second = read_csv(tmp_path / "p.csv")
    assert [first[name] for name in ("image_id", "true_class", "prediction_1", "prediction_2")] == [
        *("-2/1.jpg", "+a|b", "+a|b", "=1+1"),
    ]
    assert [second[name] for name in ("image_id", "prediction_1")] == ["'=b.jpg", "@c, d"]
    with (tmp_path / "p.csv").open(newline="") as file:
        _, *as_a_spreadsheet_reads = csv.reader(file)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in as_a_spreadsheet_reads for cell in row)


def test_boxes_without_a_threshold_have_an_iou_and_no_best_one(tmp_path: Path) -> None:
    overlaps = torch.tensor([[0.25], [0.75]], dtype=torch.float64)
    named = records()._replace(iou=overlaps, cam_thresholds=(), cam_threshold=None)
    write_predictions(tmp_path / "p.csv", named, NAMES)
    found = [(row["iou"], row["best_iou"], row["best_cam_threshold"]) for row in read_csv(tmp_path / "p.csv")]
    assert found == [("0.250000", "", ""), ("0.750000", "", "")]


def test_a_pair_without_true_boxes_has_a_box_and_no_measure(tmp_path: Path) -> None:
    iou = torch.tensor([[torch.nan] * 2, [0.0, 0.0]], dtype=torch.float64)
    shares = torch.tensor([torch.nan, 0.125], dtype=torch.float64)
    some = records()._replace(iou=iou, causes=torch.tensor([-1, 2]), object_shares=shares)
    write_predictions(tmp_path / "p.csv", some, NAMES)
    first, second = read_csv(tmp_path / "p.csv")
    assert (first["x0"], first["rank"]) == ("1.5", "0")
    assert [first[name] for name in ("iou", "best_iou", "best_cam_threshold", "cause", "object_share")] == [""] * 5
    assert second["cause"] == "no box"

from pathlib import Path

import pytest
import torch

from camloc.data.loading.sample import EvalSample
from camloc.export.submission import write_submission
from camloc.predictors.submission import SubmissionDataset, SubmissionPredictor, read_submission
from camloc.predictors.truth import truth_sample
from camloc.records import NO_PREDICTION


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    boxes = [torch.tensor([[0, 0, 10, 5], [3, 4, 4, 5]]), torch.zeros(0, 4), torch.tensor([[0, 0, 0, 0]])]
    write_submission(file, [[7, 1000], [], [2]], boxes)
    assert file.read_text() == "7 0 0 9 4 1000 3 4 3 4\n\n2 0 0 0 0\n"
    labels, found = read_submission(file, 3)
    assert labels.tolist() == [[7, 1000, *[NO_PREDICTION] * 3], [NO_PREDICTION] * 5, [2, *[NO_PREDICTION] * 4]]
    assert found[0, :2].tolist() == [[0, 0, 10, 5], [3, 4, 4, 5]]
    assert found[1].abs().sum() == 0
    assert found[2, 0].tolist() == [0, 0, 1, 1]  # a prediction without box takes one pixel, its label counts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 9 9\n", r"has 1 lines and the split has 2 images"),
        ("1 0 0 9\n1 0 0 9 9\n", r"line 1: expected up to five times .* found 4 fields"),
        ("1 0 0 9 9\n" + "1 0 0 9 9 " * 6 + "\n", r"line 2: expected up to five times .* found 30 fields"),
        ("1 0 0 9 9\n1 0 zero 9 9\n", r"line 2: not all fields are numbers"),
        ("0 0 0 9 9\n1 0 0 9 9\n", r"line 1: labels are whole numbers from 1 on"),
        ("1.5 0 0 9 9\n1 0 0 9 9\n", r"line 1: labels are whole numbers from 1 on"),
        ("1 nan 0 9 9\n1 0 0 9 9\n", r"line 1: labels are whole numbers from 1 on and boxes finite"),
        ("1 0 0 9 9\n1e30 0 0 9 9\n", r"line 2: labels are whole numbers from 1 on"),
        ("1 0 0 9 9\n1 0 0 9 9 8 0 0 9 9\n", r"line 2: label 8 is of no class"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_submission(file, 2, known_labels=range(1, 8))


def test_fractions_are_read_as_the_devkit_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    file.write_text("1 0.5 0 9.25 9\n")
    assert read_submission(file, 1)[1][0, 0].tolist() == [0.5, 0, 10.25, 10]


def test_a_class_may_be_predicted_twice(tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    file.write_text("7 0 0 9 9 7 1 1 4 4\n\n")
    labels, boxes = read_submission(file, 2, known_labels=(7,))
    assert labels.tolist() == [[7, 7, *[NO_PREDICTION] * 3], [NO_PREDICTION] * 5]
    assert boxes[0, 1].tolist() == [1, 1, 5, 5]


def test_a_file_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    file.write_bytes(b"1 0 0 9 9\n\xff 0 0 9 9\n")
    with pytest.raises(ValueError, match=r"predictions.txt, line 2: not all fields are numbers"):
        read_submission(file, 2)
    with pytest.raises(FileNotFoundError, match=r"submission=nowhere is no file"):
        read_submission(Path("nowhere"), 2)


class ThreeImages:
    """A split of three images of the classes 0, 1, 2."""

    def __len__(self) -> int:
        return 3

    def image_id(self, index: int) -> str:
        return "abc"[index]

    def sample(self, position: int) -> EvalSample:
        index = position % 3
        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
        return truth_sample(
            index, [boxes], None, (8, 6), (1, 1), self.image_id(index), position, is_padding=position > 2
        )


def test_labels_become_classes_and_lines_follow_the_split(tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    file.write_text("900 0 0 3 3 7 1 1 2 2\n\n31 0 0 5 5\n")
    submitted = SubmissionDataset(file, ThreeImages(), labels=(7, 31, 900))
    assert len(submitted) == 3
    assert submitted.image_id(2) == "c"
    assert submitted[0].classes.tolist() == [2, 0, *[NO_PREDICTION] * 3]
    assert submitted[4].truth.is_padding
    batch = SubmissionDataset.collate([submitted[0], submitted[2]])
    prediction = SubmissionPredictor().predict(batch)
    assert prediction.logits is None
    assert prediction.score_maps is None
    assert prediction.pairs.classes.tolist() == [0, 2]
    assert prediction.ranked is not None
    assert prediction.ranked.image_boxes is not None
    assert prediction.ranked.image_boxes[1, 0].tolist() == [0, 0, 6, 6]

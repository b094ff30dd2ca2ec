import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camloc.attribution.pairs import check_pairs, rounds
from camloc.records import Pairs


def pairs(*indices: tuple[int, int]) -> Pairs:
    return Pairs(*torch.tensor(indices, dtype=torch.int64).view(-1, 2).T)


def test_pairs_of_the_images_and_classes_at_hand_pass() -> None:
    check_pairs(pairs((0, 0), (1, 2), (1, 0)), num_images=2, num_classes=3)
    check_pairs(pairs(), num_images=2, num_classes=3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (pairs((0, 0), (0, 3)), r"classes of pairs must lie in 0\.\.2, found \[3\]"),
        (pairs((0, -1), (0, 0)), r"classes of pairs must lie in 0\.\.2, found \[-1\]"),
        (pairs((2, 0), (0, 0), (-1, 0)), r"image_index of pairs must lie in 0\.\.1, found \[2, -1\]"),
        (Pairs(torch.tensor([0, 1]), torch.tensor([0])), r"both \(P,\), found \(2,\) and \(1,\)"),
        (Pairs(torch.tensor([[0]]), torch.tensor([[0]])), r"both \(P,\), found \(1, 1\) and \(1, 1\)"),
        (Pairs(torch.tensor(0), torch.tensor(0)), r"both \(P,\), found \(\) and \(\)"),
    ],
)
def test_pairs_of_no_image_or_no_class_are_refused(wrong: Pairs, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_pairs(wrong, num_images=2, num_classes=3)


def test_true_classes_followed_by_predicted_ones_are_rounds_of_whole_batches() -> None:
    true, predicted = Pairs.of_target(torch.tensor([7, 8])), Pairs.most_likely(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert [places.tolist() for places in rounds(true.followed_by(predicted))] == [[0, 1], [2, 4], [3, 5]]


def test_no_pairs_are_no_rounds() -> None:
    assert rounds(pairs()) == []


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_every_pair_is_in_one_round_and_every_image_once_in_a_round(images: list[int]) -> None:
    found = [places.tolist() for places in rounds(pairs(*((image, 0) for image in images)))]
    assert sorted(place for places in found for place in places) == list(range(len(images)))
    assert len(found) == max(images.count(image) for image in images)
    for places in found:
        in_round = [images[place] for place in places]
        assert in_round == sorted(set(in_round))

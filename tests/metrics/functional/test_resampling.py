"""Images are drawn with all their pairs: against plain loops, image by image and pair by pair."""

import numpy as np
import pytest
from numpy.typing import NDArray

from camloc.metrics.functional import resampling
from camloc.metrics.functional.bootstrap import Interval, Outcome, interval, paired_difference
from camloc.metrics.functional.resampling import resampled_class_means, resampled_sums

# 4 images in the order of their first pair; "b" comes first and has 3 pairs.
IMAGE_IDS = ["b", "b", "a", "b", "d", "c", "c"]
CLASSES = np.array([0, 2, 1, 3, 0, 0, 1])
HITS = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [1, 1], [0, 1], [1, 0]], dtype=bool)
IMAGES = ["b", "a", "d", "c"]


def draws(count: int, num_resamples: int, seed: int) -> list[list[int]]:
    """The pairs of each resample."""
    test_draw, _ = np.random.default_rng(seed).spawn(2)
    found = []
    for _ in range(num_resamples):
        images = [IMAGES[place] for place in test_draw.integers(count, size=count)]
        found.append([pair for image in images for pair, name in enumerate(IMAGE_IDS) if name == image])
    return found


@pytest.mark.parametrize("chunk", [1, 9, 2**22])
def test_an_image_is_drawn_with_all_its_pairs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_CHUNK", chunk)
    sums, num_pairs = resampled_sums(HITS, IMAGE_IDS, num_resamples=30, seed=5)
    expected = draws(4, 30, seed=5)
    assert num_pairs.tolist() == [len(pairs) for pairs in expected]
    assert len(set(num_pairs)) > 1
    assert sums.tolist() == [HITS[pairs].sum(axis=0).tolist() for pairs in expected]


def test_counts_may_be_numbers() -> None:
    counts = np.arange(14).reshape(7, 2) * 10**9
    sums, _ = resampled_sums(counts, IMAGE_IDS, num_resamples=9)
    assert sums.dtype == np.float64
    assert sums.tolist() == [counts[pairs].sum(axis=0).tolist() for pairs in draws(4, 9, seed=0)]


@pytest.mark.parametrize("chunk", [1, 20, 2**22])
def test_means_are_over_the_classes_of_each_resample(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_CHUNK", chunk)
    found = resampled_class_means(HITS, IMAGE_IDS, CLASSES, num_resamples=40, seed=2)
    expected, numbers_of_classes = [], set()
    for pairs in draws(4, 40, seed=2):
        classes = sorted({int(CLASSES[pair]) for pair in pairs})
        numbers_of_classes.add(len(classes))
        of_class = [HITS[[pair for pair in pairs if CLASSES[pair] == one]].mean(axis=0) for one in classes]
        expected.append(np.mean(of_class, axis=0).tolist())
    assert found.tolist() == pytest.approx(np.array(expected))
    assert min(numbers_of_classes) < max(numbers_of_classes) == 4  # there are resamples without some class


def test_a_ratio_of_sums_is_what_the_interval_of_an_error_is_made_of() -> None:
    outcome = Outcome(np.array(IMAGE_IDS), HITS[:, 0], classes=CLASSES)
    errors = [1 - HITS[pairs, 0].mean() for pairs in draws(4, 50, seed=1)]
    ours = interval(outcome, num_resamples=50, seed=1)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.percentile(errors, [2.5, 97.5])))
    assert ours.value == 1 - 4 / 7


def plain_error(pairs: list[int], val_pairs: list[int], hits: NDArray[np.bool_], val_hits: NDArray[np.bool_]) -> float:
    return 1 - float(hits[pairs, int(val_hits[val_pairs].sum(axis=0).argmax())].mean())


def test_a_threshold_is_chosen_on_images_of_val_with_all_their_pairs() -> None:
    val_ids, val_hits = ["u", "v", "v"], np.array([[1, 0], [0, 1], [0, 1]], dtype=bool)
    outcome = Outcome(np.array(IMAGE_IDS), HITS, "val", val_hits, np.array(val_ids), CLASSES, np.array([0, 0, 1]))
    _, val_draw = np.random.default_rng(3).spawn(2)
    errors = []
    for pairs in draws(4, 60, seed=3):
        images = ["uv"[place] for place in val_draw.integers(2, size=2)]
        val_pairs = [pair for image in images for pair, name in enumerate(val_ids) if name == image]
        errors.append(plain_error(pairs, val_pairs, HITS, val_hits))  # of two thresholds no two are equally good
    ours = interval(outcome, num_resamples=60, seed=3)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.percentile(errors, [2.5, 97.5])))


def test_pairs_of_one_image_in_another_order_are_the_same_pairs() -> None:
    one = Outcome(np.array(IMAGE_IDS), HITS[:, 0], classes=CLASSES)
    order = np.random.default_rng(0).permutation(7)
    other = Outcome(one.image_ids[order], one.hits[order], classes=CLASSES[order])
    assert paired_difference(one, other, num_resamples=50) == Interval(0.0, 0.0, 0.0)
    renamed = np.where(CLASSES == 3, 4, CLASSES)
    with pytest.raises(
        ValueError, match=r"1 only in the first \['b, class 3'\], 1 only in the second \['b, class 4'\]"
    ):
        paired_difference(one, Outcome(one.image_ids, one.hits, classes=renamed))


def test_alike_pairs_of_one_image_are_no_more_evidence_than_the_image() -> None:
    """40 images with five pairs that are all hits or all misses: as wide as 40 pairs, not as 200."""
    hits = np.random.default_rng(0).random(40) < 0.6
    ids, classes = np.arange(40).astype(str), np.arange(5)
    of_images = interval(Outcome(ids, hits), seed=4)
    of_pairs = interval(Outcome(ids.repeat(5), hits.repeat(5), classes=np.tile(classes, 40)), seed=4)
    assert of_pairs == of_images
    apart = interval(Outcome(np.arange(200).astype(str), hits.repeat(5)), seed=4)
    assert apart.high - apart.low < 0.6 * (of_images.high - of_images.low)

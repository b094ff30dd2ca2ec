"""Images that a distributed sampler repeats, dropped before anything is counted."""

import torch
from torch import Tensor

from camloc.records import Pairs, Prediction, Truth


def without_padding(prediction: Prediction, truth: Truth) -> tuple[Prediction, Truth]:
    """Drop the images that only fill up the last round of a distributed sampler."""
    is_padding = truth.is_padding.tolist()
    if not any(is_padding):
        return prediction, truth
    images = [index for index, padded in enumerate(is_padding) if not padded]
    new_index = {old: new for new, old in enumerate(images)}
    image_index = prediction.pairs.image_index.tolist()
    pairs = [place for place, index in enumerate(image_index) if index in new_index]

    def of_images(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[images]

    def of_pairs(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[pairs]

    kept = Pairs(
        torch.tensor(
            [new_index[image_index[place]] for place in pairs],
            dtype=torch.int64,
            device=prediction.pairs.image_index.device,
        ),
        prediction.pairs.classes[pairs],
    )
    ranked = prediction.ranked
    if ranked is not None:
        ranked = ranked._replace(
            classes=ranked.classes[images], cams=of_images(ranked.cams), image_boxes=of_images(ranked.image_boxes)
        )
    return (
        Prediction(
            kept,
            of_images(prediction.logits),
            of_pairs(prediction.cams),
            of_pairs(prediction.score_maps),
            of_pairs(prediction.boxes),
            ranked,
            of_pairs(prediction.regressed_boxes),
            of_images(prediction.images),
        ),
        truth._replace(
            target=truth.target[images],
            gt_boxes=[truth.gt_boxes[place] for place in pairs],
            image_boxes=[truth.image_boxes[place] for place in pairs],
            masks=of_pairs(truth.masks),
            image_sizes=[truth.image_sizes[index] for index in images],
            windows=[truth.windows[index] for index in images],
            image_ids=[truth.image_ids[index] for index in images],
            positions=[truth.positions[index] for index in images],
            is_padding=truth.is_padding[images],
        ),
    )

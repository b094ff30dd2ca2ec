"""Predictions of an ONNX file that ``camloc export`` wrote, by onnxruntime on the CPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camloc.data.images.regular import MAX_TABLE_BYTES, read_regular
from camloc.data.loading.sample import EvalBatch
from camloc.records import Pairs, Prediction, Ranked

CARD = "card.json"
_NEEDED = {
    "input_size": int,
    "window": str,
    "class_names": list,
    "several_labels": bool,
    "score_map": str,
    "weights": str,
}


def read_card(file: Path) -> dict[str, Any]:
    """Read the card beside a model.

    Args:
        file: The model.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is none of an export; the message names it and the field.
    """
    path = file.with_name(CARD)
    if not path.is_file():
        raise FileNotFoundError(f"{file} has no {CARD} beside it, which says how images are shown; give an export")
    try:
        card = json.loads(read_regular(path, MAX_TABLE_BYTES))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    for name, kind in _NEEDED.items():
        if not isinstance(card, dict) or not isinstance(card.get(name), kind):
            raise ValueError(f"{path} lacks {name}, or it is no {kind.__name__}; export the network again")  # noqa: TRY004 - of a file
    fields: dict[str, Any] = card
    return fields


class OnnxPredictor:
    """A graph whose second input names the classes that are mapped.

    Args:
        file: The model; see :class:`camloc.predictors.exportable.GraphOutputs` for what it gives.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If onnxruntime is missing, or cannot read the file, or it is of another kind.
    """

    def __init__(self, file: Path) -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ValueError(f"{file} needs the package onnxruntime: pip install 'camloc[onnx]'") from error
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}; give what camloc export format=onnx wrote")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # not the warning that an input has a value in the file
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own, one for each way to be broken
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"{file} cannot be read as an ONNX model: {first}") from error
        inputs = {one.name for one in (*self._session.get_inputs(), *self._session.get_overridable_initializers())}
        missing = {"images", "more_classes"} - inputs | {"classes", "logits", "cams"}.difference(
            one.name for one in self._session.get_outputs()
        )
        if missing:
            raise ValueError(f"{file} has no {', '.join(sorted(missing))}; export the network again")
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True

    def predict(self, batch: EvalBatch, *, num_ranked: int = 0) -> Prediction:
        """Classify images and map the true classes, and in a second run the ``num_ranked`` most likely ones."""
        true = batch.truth.pairs
        logits, cams = self._run(batch.images, *_by_image(true, len(batch.images)))
        ranked = None
        if num_ranked:
            chosen = Pairs.most_likely(logits, num_ranked)
            classes = chosen.classes.view(len(logits), -1)
            _, of_chosen = self._run(batch.images, *_by_image(chosen, len(batch.images)))
            ranked = Ranked(classes, of_chosen.view(*classes.shape, *of_chosen.shape[1:]), None)
        return Prediction(true, logits, cams, ranked=ranked, images=batch.images)

    def _run(self, images: Tensor, classes: Tensor, place: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (B,C) logits, and the (P,h,w) maps at places of (B,M) classes, on the device of the images."""
        fed = {"images": images.cpu().contiguous().numpy(), "more_classes": classes.numpy()}
        logits, cams = (
            torch.from_numpy(np.array(output))
            for output in self._session.run(["logits", "cams"], fed, self._run_options)
        )
        given = cams[:, cams.shape[1] - classes.shape[1] :]
        return logits.to(images.device), given[place].to(images.device)


def _by_image(pairs: Pairs, num_images: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return (B,M) classes of images, filled up with 0, and where in it each of P pairs stands.

    Example:
        >>> _by_image(Pairs(torch.tensor([0, 2, 2]), torch.tensor([4, 1, 3])), 3)
        (tensor([[4, 0],
                [0, 0],
                [1, 3]]), (tensor([0, 2, 2]), tensor([0, 0, 1])))
    """
    image_index, classes = pairs.image_index.cpu(), pairs.classes.cpu()
    counts = torch.bincount(image_index, minlength=num_images)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(image_index)) - first[image_index]  # pairs are in the order of images
    table = torch.zeros(num_images, int(counts.max()), dtype=torch.int64)
    table[image_index, place] = classes
    return table, (image_index, place)

"""Fine-grained classification of crops, the paper's Sec. 4: a linear SVM on pooled feature maps."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig
from pytorch_lightning import seed_everything
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from camloc.boxes import area, from_window
from camloc.data.images.transforms import EvalTransform
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import Split
from camloc.data.loading.whole_split import all_targets
from camloc.experiment.checkpoint import load_weights
from camloc.experiment.limits import refuse_few_descriptors
from camloc.experiment.network import build_backbone, objective_of_run
from camloc.experiment.preflight import preflight
from camloc.experiment.run_directory import ReportedRow, RunDirectory
from camloc.experiment.run_record import refuse_trained_images, run_record
from camloc.experiment.saved_config import checkpoint_file
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.predictors.contract import ScoreMapFunction
from camloc.predictors.network import NetworkPredictor
from camloc.records import Pairs, Window

Batches = DataLoader[Any]

TITLES = {"full_image": "full image", "cam_crop": "CAM crop", "true_box": "true box"}
"""What the SVM sees of each image."""


def svm(config: DictConfig, run: RunDirectory) -> None:
    """Fit an SVM for each row of ``TITLES``, measure it on ``test``, write ``metrics.json`` and print a table.

    Raises:
        ValueError: If scikit-learn is not installed, or data or checkpoint do not fit.
    """
    _refuse_missing_package()
    run.write_config(config)
    seed_everything(config.seed, workers=True, verbose=False)
    file = checkpoint_file(Path(config.checkpoint))
    record = run_record(file)
    if record.trained_with_boxes:
        raise ValueError(
            f"checkpoint={config.checkpoint} was trained with boxes and has no class activation maps to crop at; "
            "give a network that was trained on image labels"
        )
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    if datamodule.several_labels:
        raise ValueError("camloc svm tells one class per image from the others, and these images have several labels")
    refuse_few_descriptors(datamodule.workers_per_loader(), "datamodule.num_workers")
    datamodule.use_intensity(record.intensity)
    if config.true_box:
        datamodule.train_with_boxes()
        for name in (*config.fit_on, "test"):
            _refuse_missing_boxes(datamodule.split(name), name)
    preflight(datamodule, (*config.fit_on, "test"), run, config.on_unreadable)
    refuse_trained_images(record.fingerprint, datamodule.split("test"), "test", file)

    if "weights" in config.backbone:
        config.backbone.weights = None  # the checkpoint brings all weights
    # Of its own classes: the data may have others, as CUB's birds have for a network of ImageNet.
    objective = objective_of_run(file, record, trust=bool(config.get("trust")))
    backbone = build_backbone(config.backbone, len(record.class_names), objective)
    predictor = NetworkPredictor(backbone, instantiate(config.attribution))
    load_weights(predictor, file, prefix="predictor.")
    datamodule.use_input_size(record.input_size)
    crops = CropFeatures(
        predictor.eval().to("cuda" if torch.cuda.is_available() else "cpu"),
        partial(_loader, datamodule),
        datamodule.eval_transform,
        instantiate(config.score_map),
        config.cam_threshold,
    )
    fitted = [datamodule.split(name) for name in config.fit_on]
    test = datamodule.split("test")
    fit_target = np.concatenate([all_targets(split) for split in fitted])
    accuracies = {}
    for row in [row for row in TITLES if row != "true_box" or config.true_box]:
        features = torch.cat([crops(split, row) for split in fitted])
        predicted = predictions(features, fit_target, crops(test, row), config.svm_c, config.seed)
        accuracies[row] = float((predicted == all_targets(test)).mean())
    _write(run, accuracies, len(fit_target), len(test))


def predictions(
    features: Tensor, target: NDArray[np.int64], test_features: Tensor, svm_c: float, seed: int = 0
) -> NDArray[np.int64]:
    """Fit a linear SVM, one class against the others, and predict classes.

    Features are scaled to unit length first, so that ``svm_c`` means the same for every network.

    Args:
        features: (N,K) to be fitted.
        target: (N,) their classes.
        test_features: (M,K).
        svm_c: Weight of the training errors against the margin, above 0.
        seed: Of the solver.

    Returns:
        (M,) classes.

    Example:
        >>> features = torch.tensor([[1.0, 0.1], [0.1, 1.0], [9.0, 1.0], [1.0, 8.0]])
        >>> predictions(features, np.array([3, 5, 3, 5]), torch.tensor([[0.0, 2.0], [0.3, 0.0]]), svm_c=1.0).tolist()
        [5, 3]
    """
    from sklearn.svm import LinearSVC  # noqa: PLC0415 - an extra

    fitted = LinearSVC(C=svm_c, random_state=seed, max_iter=10_000)
    fitted.fit(torch.nn.functional.normalize(features).numpy(), target)
    predicted: NDArray[np.int64] = fitted.predict(torch.nn.functional.normalize(test_features).numpy())
    return predicted


class CropFeatures:
    """Pooled features of what a row shows of each image.

    Args:
        predictor: In evaluation mode, on its device.
        loader: Makes batches of crops.
        transform: Takes what is shown to the network's input size.
        score_map: Of class activation maps.
        cam_threshold: Where score maps are cut, a fraction of their maximum.
    """

    def __init__(
        self,
        predictor: NetworkPredictor,
        loader: Callable[["Crops"], Batches],
        transform: EvalTransform,
        score_map: ScoreMapFunction,
        cam_threshold: float,
    ) -> None:
        self.predictor, self.loader, self.transform = predictor, loader, transform
        self.score_map, self.cam_threshold = score_map, cam_threshold

    def __call__(self, split: Split, row: str) -> Tensor:
        """Return the (N,K) means of the feature maps of a split's images, or of their crops."""
        windows = None
        if row != "full_image":
            windows = self.cam_windows(split) if row == "cam_crop" else true_windows(split)
        with torch.inference_mode():
            maps = (
                self.predictor.backbone.forward_features(images).maps.float()
                for images, _ in self._inputs(Crops(split, self.transform, windows), TITLES[row])
            )
            return torch.cat([batch.mean(dim=(2, 3)).cpu() for batch in maps])

    def cam_windows(self, split: Split) -> list[Window]:
        """Return the box of the most likely class's map in each image; without a box, all that was shown of it."""
        found = []
        with torch.inference_mode():
            for images, windows in self._inputs(Crops(split, self.transform), "class activation maps"):
                most_likely = partial(Pairs.most_likely, count=1)
                cams = self.predictor.attribution(self.predictor.backbone, images, most_likely).cams
                score_maps = self.score_map(cams, self.transform.size).cpu()
                boxes = largest_component_boxes(score_maps, [self.cam_threshold])[:, 0].float()
                for box, window in zip(boxes, windows, strict=True):
                    placed = from_window(box, window, self.transform.size)
                    found.append(_whole_pixels(placed) if area(placed) > 0 else window)
        return found

    def _inputs(self, crops: "Crops", what: str) -> Iterator[tuple[Tensor, list[Window]]]:
        for images, windows in track(self.loader(crops), what, console=Console(stderr=True), transient=True):
            yield self.predictor.normalize(images.to(self.predictor.pixel_mean.device)), windows


def true_windows(split: Split) -> list[Window]:
    """Return the true box of each image, the largest where there are several."""
    boxes = (torch.cat(split.gt_boxes(index)) for index in range(len(split)))
    return [_whole_pixels(several[area(several).argmax()]) for several in boxes]


class Crops(Dataset[tuple[Tensor, Window]]):
    """What is shown of each image, at the network's input size.

    Args:
        split: The images.
        transform: Takes a window of an image to that size.
        windows: Of each image, half-open xyxy pixels; None shows what evaluations show.
    """

    def __init__(self, split: Split, transform: EvalTransform, windows: Sequence[Window] | None = None) -> None:
        self.split, self.transform, self.windows = split, transform, windows

    def __len__(self) -> int:
        """Return N."""
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Window]:
        """Return a (3,S,S) uint8 image and the part of the stored image that it shows."""
        image = self.split.image(index)
        shown = self.transform.window((image.shape[1], image.shape[2])) if self.windows is None else self.windows[index]
        return self.transform(image, shown), shown


def _loader(datamodule: LocalizationDataModule, crops: Crops) -> Batches:
    return DataLoader(crops, datamodule.batch_size, num_workers=datamodule.workers_per_loader(), collate_fn=_collate)


def _collate(samples: list[tuple[Tensor, Window]]) -> tuple[Tensor, list[Window]]:
    images, windows = zip(*samples, strict=True)
    return torch.stack(images), list(windows)


def _whole_pixels(box: Tensor) -> Window:
    """Return the pixels that a box touches, which begin within the image."""
    x0, y0 = box[:2].clamp(min=0).floor().int().tolist()
    x1, y1 = box[2:].ceil().int().tolist()
    return x0, y0, x1, y1


def _refuse_missing_package() -> None:
    try:
        import sklearn  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise ValueError("camloc svm needs the package scikit-learn: pip install 'camloc[svm]'") from error


def _refuse_missing_boxes(split: Split, name: str) -> None:
    without = [index for index in range(len(split)) if not sum(map(len, split.gt_boxes(index)))]
    if without:
        raise ValueError(
            f"{name}: {len(without)} of {len(split)} images have no true box, such as {split.image_id(without[0])}; "
            "annotate them, or give true_box=false to leave out the row of true boxes"
        )


def _write(run: RunDirectory, accuracies: dict[str, float], num_fitted: int, num_images: int) -> None:
    keys = {row: f"test/svm/{row}_accuracy" for row in accuracies}
    run.write_metrics(
        {keys[row]: value for row, value in accuracies.items()}
        | {"test/num_images": num_images, "test/svm/num_fitted": num_fitted}
    )
    sources = {"cam_crop": "fixed"}
    run.write_rows(
        [ReportedRow(keys[row], f"SVM accuracy, {TITLES[row]}", "max", sources.get(row, "")) for row in accuracies]
    )
    table = Table(box=SIMPLE_HEAD)
    for heading in (f"linear SVM fitted on {num_fitted:,} images", f"accuracy on {num_images:,} of test, %"):
        table.add_column(heading, justify="right" if "%" in heading else "left")
    for row, value in accuracies.items():
        table.add_row(TITLES[row], f"{100 * value:.2f}")
    Console().print(table)

"""Predictions of files: saved maps, ready-made maps, submission files, and networks that were exported."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from camloc.attribution.score_map import score_map
from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import SplitName
from camloc.experiment.build import build_measures
from camloc.experiment.checkpoint import weights_fingerprint
from camloc.experiment.limits import refuse_few_descriptors
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.experiment.run_record import RunRecord
from camloc.experiment.saved_config import checkpoint_file, saved_config
from camloc.experiment.source import PredictedData, Source
from camloc.export.graph_file import GRAPH_FILES
from camloc.predictors.map_files import MAP_SIZE, MapDataset, MapFolder, MapPredictor
from camloc.predictors.onnx import OnnxPredictor, read_card
from camloc.predictors.saved_maps import SavedMaps, SavedPredictor
from camloc.predictors.submission import SubmissionDataset, SubmissionPredictor
from camloc.predictors.truth import MetadataSplit, SomeOf, SplitTruth, UnseenSplit

_MAX_SHOWN = 200
"""Letters of a value in a message."""


def chooses_on_val(config: DictConfig) -> bool:
    """Return whether a protocol chooses its CAM threshold."""
    protocols = SplitProtocols(build_measures(config)).protocols.values()
    return any(protocol.chooses_threshold and protocol.cam_threshold is None for protocol in protocols)


def saved_maps(config: DictConfig) -> Source:
    """Return the logits and raw maps that an evaluation has saved; ``val`` is among them where a threshold was chosen.

    Raises:
        ValueError: If a threshold is to be chosen and ``val`` was not saved.
    """
    saved = SavedMaps(Path(config.score_maps))
    names: tuple[SplitName, ...] = ("val", "test")
    if not saved.has("val"):  # an evaluation that chose no threshold has not read it
        if chooses_on_val(config):
            raise ValueError(
                f"score_maps={saved.path} holds maps of test alone, and a CAM threshold is to be chosen on val; give "
                "localization.cam_threshold=, or a protocol with a threshold of its own, such as localization=paper"
            )
        names = ("test",)
    splits = {name: saved.split(name) for name in names}
    data = PredictedData(
        splits,
        {name: split.collate for name, split in splits.items()},
        saved.class_names,
        saved.devkit_ids,
        config.map_loader.batch_size,
        num_workers=0,  # they lie in memory
        objectless=saved.objectless,
        several_labels=splits["test"].several_labels,
        pseudo_boxes=(saved_config(saved.path).get("datamodule") or {}).get("pseudo_boxes"),
    )
    return Source(SavedPredictor(), data, names, [f"Saved score maps: {saved.path}."], has_other_classes=True)


def map_folder(config: DictConfig) -> Source:
    """Return a folder's ready-made maps, measured as they are unless another normalization is asked for."""
    refuse_few_descriptors(config.map_loader.num_workers, "map_loader.num_workers")
    folder = MapFolder(config.score_maps)
    truth, class_names, devkit_ids, objectless = _unseen_test_split(config, MAP_SIZE)
    image_ids = [truth.image_id(index) for index in range(len(truth))]
    present, notes = folder.check(image_ids, config.on_missing)
    measured = MapDataset(folder, truth if len(present) == len(truth) else SomeOf(truth, present))
    data = PredictedData(
        {"test": measured},
        {"test": MapDataset.collate},
        class_names,
        devkit_ids,
        **config.map_loader,
        objectless=objectless,
    )
    notes = [f"Ready-made maps: {folder.directory}.", *measured.size_notes(), *notes]
    as_they_are = partial(score_map, normalization="none")
    chosen = None if config.score_map else as_they_are
    return Source(MapPredictor(), data, ("test",), notes, score_map=chosen)


def submission(config: DictConfig) -> Source:
    """Return the classes and boxes of a file in the devkit's format."""
    truth, class_names, devkit_ids, objectless = _unseen_test_split(config, (1, 1))
    labels = devkit_ids or range(1, len(class_names) + 1)
    path = Path(config.submission)
    data = PredictedData(
        {"test": SubmissionDataset(path, truth, labels)},
        {"test": SubmissionDataset.collate},
        class_names,
        devkit_ids,
        config.map_loader.batch_size,
        num_workers=0,
        objectless=objectless,
    )
    return Source(SubmissionPredictor(), data, ("test",), [f"Submission: {path}."], has_maps=False)


def onnx_model(
    config: DictConfig, datamodule: LocalizationDataModule, record: RunRecord
) -> tuple[OnnxPredictor, list[str]]:
    """Return an exported network in place of a checkpoint's, and what people should know of it.

    Raises:
        FileNotFoundError: If the file or its card is missing.
        ValueError: If it is none of this checkpoint's.
    """
    given = Path(config.onnx)
    file = given / GRAPH_FILES["onnx"] if given.is_dir() else given
    card = read_card(file)
    datamodule.use_input_size(card["input_size"])
    expected = {
        "class_names": list(record.class_names),
        "several_labels": record.several_labels,
        "input_size": datamodule.input_size,
        "window": datamodule.eval_transform.kind,
    }
    for name, value in expected.items():
        if card[name] != value:
            raise ValueError(
                f"onnx={given}: {name} of its card is {_short(card[name])}, and of checkpoint={config.checkpoint} "
                f"{_short(value)}; export this checkpoint, or name the one that was exported"
            )
    if card["weights"] != weights_fingerprint(checkpoint_file(Path(config.checkpoint))):
        raise ValueError(
            f"onnx={given} was exported from other weights than those of checkpoint={config.checkpoint}; export this "
            "checkpoint, or name the one that was exported"
        )
    notes = [f"Logits and maps: {file}, by onnxruntime on the CPU."]
    if card["score_map"] != (measured := config.score_map.get("normalization") or "minmax"):
        notes.append(f"The file's own score maps are of score_map={card['score_map']}; {measured} is measured.")
    return OnnxPredictor(file), notes


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _unseen_test_split(
    config: DictConfig, map_size: tuple[int, int]
) -> tuple[SplitTruth, Sequence[str], Sequence[int] | None, frozenset[int]]:
    """Return the test split without its images, its classes' names, their labels in the devkit and the objectless."""
    if not config.datamodule:
        raise ValueError("name the data set that the predictions are measured against: datamodule=NAME")
    built: LocalizationDataModule | WsolMetadata = instantiate(config.datamodule)
    if isinstance(built, WsolMetadata):
        return MetadataSplit(built, map_size), [str(label) for label in range(built.num_classes)], None, frozenset()
    if built.several_labels:
        raise ValueError(
            "predictions from files have one class for each image, and the images of this data set have several "
            "labels; evaluate a checkpoint"
        )
    return UnseenSplit(built.split("test"), map_size), built.class_names, built.devkit_ids, built.objectless

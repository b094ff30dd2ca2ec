"""The options that no constructor has, and how camloc completes the parts that have one.

Types and ranges only: the values are in the configuration files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from annotated_types import Ge, Gt, Le, Lt, MinLen


@dataclass(frozen=True)
class Built:
    """Marks a configuration that is built: its ``_target_``'s signature says what its options are.

    Attributes:
        positional: How many arguments camloc gives by position when it completes a partial one.
        names: The arguments that it gives by name.
        several: Whether it is a mapping of names to such configurations; null leaves one out.
        optional: Whether it may be null or empty.
        partial: Whether it has ``_partial_: true``, so that camloc completes it; None where it may.
        limits: Ranges of arguments whose signature is not ours.
    """

    positional: int = 0
    names: tuple[str, ...] = ()
    several: bool = False
    optional: bool = False
    partial: bool | None = True
    limits: Mapping[str, Any] = field(default_factory=dict, hash=False)


Part = Mapping[str, Any]
Count = Annotated[int, Ge(1)]
CountOrNull = Count | None
Factor = Annotated[float, Ge(0)]
FactorOrNull = Factor | None
CamThreshold = Annotated[float, Ge(0), Lt(1)]
IouThreshold = Annotated[float, Gt(0), Le(1)]
OnProblem = Literal["error", "skip"]

_TRAINER = Built(
    partial=False,
    names=("default_root_dir", "callbacks", "plugins", "logger", "use_distributed_sampler"),
    limits={
        "max_epochs": Count,
        "num_nodes": Count,
        "accumulate_grad_batches": Count,
        "check_val_every_n_epoch": CountOrNull,
        "gradient_clip_val": FactorOrNull,
    },
)


class LocalizationOptions(TypedDict):
    """Of ``localization``, besides the protocols' own."""

    cam_threshold: CamThreshold | None
    num_thresholds: Count
    more_thresholds: Sequence[CamThreshold]
    iou_thresholds: Annotated[Sequence[IouThreshold], MinLen(1)]
    iou_threshold: IouThreshold
    threshold_interval: Annotated[float, Gt(0), Lt(1)]
    protocols: Annotated[Part, Built(several=True, partial=False)]
    score_maps: Annotated[Part, Built(2, several=True, optional=True)]
    submission: bool
    one_evaluation_for_thresholds: bool


class ClassifierOptions(TypedDict, total=False):
    """Of ``classifier``; an evaluation of no checkpoint has none."""

    head_lr_multiplier: Factor
    channels_last: bool | None
    frozen: bool
    cached_views: Annotated[int, Ge(0)]


class SweepOptions(TypedDict):
    """Of ``sweep``."""

    fail_fast: bool
    skip_completed: bool
    metric: str | None


class MapLoaderOptions(TypedDict):
    """Of ``map_loader``."""

    batch_size: Count
    num_workers: Annotated[int, Ge(0)]


class ReportOptions(TypedDict):
    """Of ``report``, which the page reads; without one it is no error."""

    max_images: Count


class PathOptions(TypedDict):
    """Of ``paths``."""

    runs: str


Percent = Annotated[float, Ge(0), Le(100)]


class PaperTableOptions(TypedDict, total=False):
    """A line in a table of Zhou et al., CVPR 2016, under ``paper``."""

    line: Count
    name: str
    top1: Percent
    top5: Percent


class PaperOptions(TypedDict, total=False):
    """Of ``paper``: which row of the paper's tables a run is; see ``docs/paper.md``."""

    row: str
    recipe: str
    needs: list[str]
    boxes: bool
    tolerance: Percent
    table1: PaperTableOptions
    table2: PaperTableOptions
    table3: PaperTableOptions
    table3_heuristic: PaperTableOptions


class CommonOptions(TypedDict):
    """Of every command."""

    score_map: Annotated[Part, Built(2, optional=True)]
    box_rule: Annotated[Part | None, Built(1, names=("cam_thresholds", "images"), optional=True)]
    localization: LocalizationOptions
    classifier: ClassifierOptions
    trainer: Annotated[Part, _TRAINER]
    callbacks: Annotated[Part, Built(names=("run",), several=True, optional=True, partial=None)]
    logger: Annotated[Part, Built(names=("save_dir",), several=True, optional=True)]
    paths: PathOptions
    report: NotRequired[ReportOptions]  # configurations of earlier versions have none
    sweep: SweepOptions
    seed: Annotated[int, Ge(0), Lt(2**32)]
    overwrite: bool
    trust: bool
    on_unreadable: OnProblem
    paper: NotRequired[PaperOptions]
    camloc_version: NotRequired[str]


class TrainOptions(CommonOptions):
    """Of ``camloc train``."""

    backbone: Annotated[Part, Built(names=("num_classes",))]
    datamodule: Annotated[Part, Built(partial=False)]
    attribution: Annotated[Part, Built(3)]
    views: Annotated[Part, Built(1)]
    objective: Annotated[Part, Built(names=("class_counts", "num_images"))]
    optimizer: Annotated[Part, Built(1)]
    scheduler: Annotated[Part | None, Built(1, names=("total_steps",), optional=True)]
    resume: str | None
    check_only: bool
    monitor: str | None
    compile: bool


class EvaluateOptions(CommonOptions):
    """Of ``camloc evaluate``; the parts of a run are empty where no run is evaluated."""

    backbone: Annotated[Part, Built(names=("num_classes",), optional=True)]
    datamodule: Annotated[Part, Built(optional=True, partial=False)]
    attribution: Annotated[Part, Built(3, optional=True)]
    views: Annotated[Part, Built(1, optional=True)]
    checkpoint: str | None
    score_maps: str | None
    submission: str | None
    onnx: str | None
    threshold_from: Literal["val", "checkpoint"]
    on_missing: OnProblem
    save_score_maps: bool
    export_score_maps: str | None
    map_loader: MapLoaderOptions


class TrainedOptions(TypedDict):
    """Of the commands that use a trained network; the parts are those of the checkpoint's run."""

    backbone: Annotated[Part, Built(names=("num_classes",))]
    attribution: Annotated[Part, Built(3)]
    views: Annotated[Part, Built(1)]
    score_map: Annotated[Part, Built(2)]
    box_rule: Annotated[Part | None, Built(1, names=("cam_thresholds", "images"), optional=True)]
    classifier: ClassifierOptions
    checkpoint: str
    cam_threshold: CamThreshold | None
    paths: PathOptions
    overwrite: bool
    trust: bool
    camloc_version: NotRequired[str]


class PredictOptions(TrainedOptions):
    """Of ``camloc predict``."""

    datamodule: Annotated[Part, Built(optional=True, partial=False)]
    source: str | int
    save: Sequence[Literal["csv", "coco", "yolo", "voc", "label_studio", "overlays", "page", "maps"]]
    probability: Annotated[float, Ge(0), Le(1)] | None
    top_k: CountOrNull
    boxes: Literal["largest", "all"]
    min_size: Annotated[float, Ge(0), Lt(1)]
    intensity: Literal["full"] | Sequence[float] | None
    masks: bool
    every: Count
    seed: Annotated[int, Ge(0), Lt(2**32)]
    device: str
    devices: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    batch_size: Count
    num_workers: Annotated[int, Ge(0)] | None
    resume: str | None


class ExportOptions(TrainedOptions):
    """Of ``camloc export``."""

    format: Literal["onnx", "exported_program"]
    top_k: Count


class DemoOptions(TrainedOptions):
    """Of ``camloc demo``."""

    host: str
    port: Annotated[int, Ge(0), Lt(2**16)]
    device: str
    intensity: Literal["full"] | Sequence[float] | None


class SvmOptions(TypedDict):
    """Of ``camloc svm``."""

    backbone: Annotated[Part, Built(names=("num_classes",))]
    datamodule: Annotated[Part, Built(partial=False)]
    attribution: Annotated[Part, Built(3)]
    score_map: Annotated[Part, Built(2)]
    paths: PathOptions
    checkpoint: str
    fit_on: Annotated[Sequence[Literal["train", "val"]], MinLen(1)]
    svm_c: Annotated[float, Gt(0)]
    cam_threshold: CamThreshold
    true_box: bool
    seed: Annotated[int, Ge(0), Lt(2**32)]
    overwrite: bool
    trust: bool
    on_unreadable: OnProblem
    camloc_version: NotRequired[str]

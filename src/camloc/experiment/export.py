"""Write a run's network as one graph for other programs: ``camloc export checkpoint=RUN format=onnx``."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

import camloc
from camloc.experiment.checkpoint import weights_fingerprint
from camloc.experiment.exchanged import exchanged_parts, refuse_exchanged_parts
from camloc.experiment.load import configured_localizer
from camloc.experiment.run_directory import RunDirectory, read_json
from camloc.experiment.trusted import printable
from camloc.export import localize
from camloc.export.graph_file import GraphFormat, refuse_missing_onnx, write_graph
from camloc.export.replaced import replaced
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.predictors.exportable import Exportable, GraphOutputs
from camloc.predictors.localizer import SEVERAL_PROBABILITY, Localizer
from camloc.predictors.network import NetworkPredictor

TOLERANCE = 1e-4
"""Of probabilities and score maps, between the file and the network that it was made of."""


def export(config: DictConfig, run: RunDirectory) -> None:
    """Write the graph, its card and, for ONNX, the box rule in NumPy; run the file once and compare.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the run has a part that no graph can hold, or the file does not do what the network does.
    """
    run.write_config(config)
    if config.format == "onnx":
        refuse_missing_onnx()
    localizer, file, of_run = configured_localizer(config, ["cpu"])
    model = exportable(config, localizer)
    if localizer.placing.threshold is not None:
        refuse_exchanged_parts(config, of_run, localizer.placing.threshold.source, "cam_threshold=X")
    graph = write_graph(model, config.format, run.path, localizer.transform.size[0])
    difference = _compare(model, config.format, graph)
    card = {
        **card_of(localizer, config.top_k),
        "score_map": _normalization(config),
        "file": graph.name,
        "format": config.format,
        "checkpoint": str(config.checkpoint),
        "weights": weights_fingerprint(file),
        "camloc_version": camloc.__version__,
        "largest_difference": difference,
        "numbers": [] if exchanged_parts(config, of_run) else _numbers(file),
    }
    with replaced(run.card) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    if config.format == "onnx":
        with replaced(run.localize_script) as partial:
            shutil.copyfile(localize.__file__, partial)
    _say(f"checkpoint: {file}")
    _say(f"CAM threshold: {card['cam_threshold']:g} ({card['threshold_source']})")
    if localizer.several_labels and config.top_k < len(localizer.class_names):
        _say(f"maps of {config.top_k} of {len(localizer.class_names)} classes of each image; top_k=N maps more")
    _say(f"compared with the network: the largest difference is {difference:.1e}")
    _say(f"exported: {graph}, with card.json{' and localize.py' if config.format == 'onnx' else ''}")


def exportable(config: DictConfig, localizer: Localizer) -> Exportable:
    """Return what of a run can stand in a graph.

    Raises:
        ValueError: Naming the part that cannot.
    """
    predictor = localizer.predictor
    if not isinstance(predictor, NetworkPredictor):
        raise ValueError("this network predicts boxes itself; only networks with class activation maps are exported")  # noqa: TRY004 - a run's, not a caller's
    normalization = _normalization(config)
    if normalization not in ("minmax", "max"):
        raise ValueError(f"score_map={normalization} cannot be exported; score_map=minmax and score_map=max can")
    rule = localizer.placing.box_rule
    if getattr(rule, "func", rule) is not largest_component_boxes:
        raise ValueError("only box_rule=largest_component can be exported; give it, or export another run")
    return Exportable(
        predictor,
        localizer.placing.score_map,
        localizer.transform.size[0],
        config.top_k,
        several_labels=localizer.several_labels,
    ).eval()


def _normalization(config: DictConfig) -> str:
    return config.score_map.get("normalization") or "minmax"


def card_of(localizer: Localizer, top_k: int) -> dict[str, Any]:
    """Return what a program needs to know of an exported network, by names of JSON."""
    threshold = localizer.placing.threshold
    if threshold is None:
        raise ValueError("only box_rule=largest_component can be exported; give it, or export another run")
    intensity = localizer.intensity
    return {
        "input": "images: (B,3,H,W) uint8 RGB, any B, H and W; resized and normalized in the graph",
        "outputs": {
            "probabilities": "(B,C) float32, a sigmoid's" if localizer.several_labels else "(B,C) float32, a softmax's",
            "classes": "(B,K) int64, the K most probable ones, the first one first",
            "score_maps": "(B,K,S,S) float32 in [0,1], of these classes",
            "logits": "(B,C) float32",
            "cams": "(B,K,h,w) float32, raw and signed, of these classes",
        },
        "input_size": localizer.transform.size[0],
        "window": localizer.transform.kind,
        "intensity": None if intensity is None else [intensity.low, intensity.high],
        "class_names": list(localizer.class_names),
        "several_labels": localizer.several_labels,
        "least_probability": SEVERAL_PROBABILITY if localizer.several_labels else 0.0,
        "objectless": sorted(localizer.placing.objectless),
        "top_k": top_k,
        "cam_threshold": threshold.value,
        "threshold_source": threshold.source,
    }


def _compare(model: Exportable, graph_format: GraphFormat, graph: Path) -> float:
    """Run the file on images of noise, of other sizes than it was made with, and return the largest difference.

    Raises:
        ValueError: If it is more than :data:`TOLERANCE`.
    """
    if graph_format == "onnx":
        import onnxruntime  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415 - an extra

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # as in localize.py
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    else:
        program = torch.export.load(graph).module()
    generator, largest = np.random.default_rng(0), 0.0
    for size in ((1, 3, 211, 160), (3, 3, 90, 133)):
        images = generator.integers(0, 256, size, dtype=np.uint8)
        with torch.no_grad():
            own = GraphOutputs(*(output.numpy() for output in model(torch.from_numpy(images))))
            if graph_format == "onnx":
                found = GraphOutputs(*session.run(None, {"images": images}))
            else:
                found = GraphOutputs(*(output.numpy() for output in program(torch.from_numpy(images))))
        same = found.classes == own.classes  # two that are as probable as one another may change places
        differences = (found.probabilities - own.probabilities, (found.score_maps - own.score_maps)[same])
        largest = max(largest, *(float(np.abs(part).max(initial=0.0)) for part in differences))
    if not largest <= TOLERANCE:
        raise ValueError(
            f"{graph} differs from the network by up to {largest:.1e}, more than {TOLERANCE:g}: do not use it; "
            "format=exported_program may do"
        )
    return largest


def _numbers(file: Path) -> list[dict[str, Any]]:
    """Return what the run reports, with its conditions; nothing for a checkpoint that it did not measure."""
    of_run = RunDirectory(file.parent.parent)
    if file != of_run.best_checkpoint:
        return []
    values = read_json(of_run.metrics)
    return [{**row._asdict(), "value": values[row.key]} for row in of_run.read_rows() if row.key in values]


def _say(line: str) -> None:
    print(printable(line), flush=True)  # noqa: T201 - to the user

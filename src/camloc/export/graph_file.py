"""A network written as one file: ONNX, or torch's exported program."""

import logging
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from camloc.export.replaced import replaced

GraphFormat = Literal["onnx", "exported_program"]
GRAPH_FILES: dict[GraphFormat, str] = {"onnx": "model.onnx", "exported_program": "model.pt2"}
INPUTS = ("images", "more_classes")
"""Names of the inputs in an ONNX file; the second is optional there, and an exported program has only the first."""
OUTPUTS = ("probabilities", "classes", "score_maps", "logits", "cams")
"""Names of the outputs in an ONNX file."""
_OPSET = 20


def write_graph(model: nn.Module, graph_format: GraphFormat, folder: Path, input_size: int) -> Path:
    """Write a model of (B,3,H,W) uint8 images, B, H and W free; it is left in evaluation mode and without gradients.

    Args:
        model: With :data:`INPUTS` and :data:`OUTPUTS`.
        graph_format: ``onnx`` or ``exported_program``.
        folder: Gets the file.
        input_size: About the size of images, pixels; the graph takes any.

    Returns:
        The file, whole.

    Raises:
        ValueError: If a package is missing, or the model is no graph.
    """
    if graph_format == "onnx":
        refuse_missing_onnx()
    program = _program(model.eval().requires_grad_(requires_grad=False), input_size, more=graph_format == "onnx")
    file = folder / GRAPH_FILES[graph_format]
    with replaced(file) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations, which its user can do nothing about
        if graph_format == "exported_program":
            torch.export.save(program, partial.with_suffix(".pt2"))  # which wants the suffix
            partial.with_suffix(".pt2").replace(partial)
        else:
            partial.write_bytes(_onnx(program))
    return file


def _onnx(program: ExportedProgram) -> bytes:
    from onnx import numpy_helper  # noqa: PLC0415 - an extra

    for package in ("onnxscript", "onnx_ir"):  # which tell of every constant that they move
        logging.getLogger(package).setLevel(logging.WARNING)
    written = torch.onnx.export(
        program, input_names=INPUTS, output_names=OUTPUTS, opset_version=_OPSET, external_data=False, verbose=False
    )
    if written is None:
        raise ValueError("torch wrote no ONNX program")
    model = written.model_proto
    # An input that has a value in the file may be left out.
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 0), np.int64), INPUTS[1]))
    encoded: bytes = model.SerializeToString()
    return encoded


def refuse_missing_onnx() -> None:
    """Refuse to go on without the packages that write and run ONNX.

    Raises:
        ValueError: If one is missing.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - an extra
        import onnxruntime  # noqa: F401, PLC0415 - an extra
        import onnxscript  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise ValueError(
            f"format=onnx needs the package {error.name}: pip install 'camloc[onnx]', or give format=exported_program"
        ) from error


def _program(model: nn.Module, input_size: int, *, more: bool) -> ExportedProgram:
    # Sizes that differ from one another, so that none is taken for another.
    example: tuple[Tensor, ...] = (torch.zeros(2, 3, input_size + 1, input_size + 2, dtype=torch.uint8),)
    batch = Dim("batch", min=1)
    free: tuple[dict[int, Dim], ...] = ({0: batch, 2: Dim("height", min=1), 3: Dim("width", min=1)},)
    if more:
        example, free = (*example, torch.zeros(2, 3, dtype=torch.int64)), (*free, {0: batch, 1: Dim("more", min=0)})
    try:
        with torch.no_grad():
            return torch.export.export(model, example, dynamic_shapes=free)
    except Exception as error:  # whatever a network of anyone's may do in the tracer
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"the network cannot be exported as a graph: {first}") from error

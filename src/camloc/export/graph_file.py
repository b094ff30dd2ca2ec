"""A network written as one file: ONNX, or torch's exported program."""

import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from camloc.export.replaced import replaced

GraphFormat = Literal["onnx", "exported_program"]
GRAPH_FILES: dict[GraphFormat, str] = {"onnx": "model.onnx", "exported_program": "model.pt2"}
OUTPUTS = ("probabilities", "classes", "score_maps")
"""Names of the outputs in the file."""
_OPSET = 20


def write_graph(model: nn.Module, graph_format: GraphFormat, folder: Path, input_size: int) -> Path:
    """Write a model of (B,3,H,W) uint8 images, B, H and W free; it is left in evaluation mode and without gradients.

    Args:
        model: With :data:`OUTPUTS`.
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
    program = _program(model.eval().requires_grad_(requires_grad=False), input_size)
    file = folder / GRAPH_FILES[graph_format]
    with replaced(file) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations, which its user can do nothing about
        if graph_format == "exported_program":
            torch.export.save(program, partial.with_suffix(".pt2"))  # which wants the suffix
            partial.with_suffix(".pt2").replace(partial)
        else:
            torch.onnx.export(
                program,
                f=partial,
                input_names=["images"],
                output_names=OUTPUTS,
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
    return file


def refuse_missing_onnx() -> None:
    """Refuse to go on without the packages that write and run ONNX.

    Raises:
        ValueError: If one is missing.
    """
    try:
        import onnxruntime  # noqa: F401, PLC0415 - an extra
        import onnxscript  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise ValueError(
            f"format=onnx needs the package {error.name}: pip install 'camloc[onnx]', or give format=exported_program"
        ) from error


def _program(model: nn.Module, input_size: int) -> ExportedProgram:
    # Sizes that differ from one another, so that none is taken for another.
    example = torch.zeros(2, 3, input_size + 1, input_size + 2, dtype=torch.uint8)
    free = {0: Dim("batch", min=1), 2: Dim("height", min=1), 3: Dim("width", min=1)}
    try:
        with torch.no_grad():
            return torch.export.export(model, (example,), dynamic_shapes=(free,))
    except Exception as error:  # whatever a network of anyone's may do in the tracer
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"the network cannot be exported as a graph: {first}") from error

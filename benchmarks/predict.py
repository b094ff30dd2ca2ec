"""Images per second: ``camloc predict`` against a bare loop, and CAM of five classes against torchcam and grad-cam.

python benchmarks/predict.py RUN IMAGES    (a folder of a hundred images or more; RUN a network with CAM)

Everything runs on the CPU with as many threads as OMP_NUM_THREADS says. torchcam and grad-cam are called as their
documentation does, image by image and class by class. On a network that ends in pooling and one layer, Grad-CAM's maps
are CAM's but for a factor, and torchcam needs no more than one pass through the trunk either; grad-cam goes forward and
backward for each class.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_grad_cam import GradCAM  # type: ignore[import-untyped] # no types published
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # type: ignore[import-untyped] # the same
from torch import Tensor, nn
from torchcam import methods

import camloc
from camloc.data.images.decode import read_clipped_image, read_image
from camloc.data.sources.files import find_files
from camloc.data.sources.loading import UnlabelledDataset, Viewing, load
from camloc.experiment.limits import reuse_freed_memory
from camloc.predictors.localizer import Localizer, stacked
from camloc.predictors.placing import Choice, Inputs

ROUNDS, BATCH, TOP_K = 3, 32, 5
MAPS, LINEAR = "extra", "head.linear"
"""Parts of our networks that end in global average pooling and one layer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--explained", type=int, default=16, help="images that the slow ones are given")
    given = parser.parse_args()
    reuse_freed_memory()  # as the command does
    localizer = camloc.load(given.run, device="cpu")
    found = find_files(given.images)
    files = [found.root / name for name in found.names[: given.count]]
    bare = rate(lambda: bare_loop(localizer, files), len(files))
    ours = rate(lambda: predicted(localizer, files), len(files))
    print(f"decode and forward    {bare:7.1f} images/s")
    print(f"predict               {ours:7.1f} images/s   {ours / bare:5.2f} of it (0.9 wanted)")
    batch = seen(localizer, files[: given.explained])
    network = localizer._copies[0]  # noqa: SLF001 - the same network for all
    normalized = network.normalize(batch.images)
    explained = rate(lambda: localized(localizer, batch), len(batch.names))
    print(f"top-{TOP_K}: camloc          {explained:7.1f} images/s")
    backbone: Any = network.backbone
    methods_of_others: tuple[tuple[str, Callable[[Any, Tensor], None], str], ...] = (
        ("torchcam CAM", by_torchcam_cam, ""),
        ("torchcam GradCAM", by_torchcam_grad_cam, " (3 wanted)"),
        ("grad-cam GradCAM", by_grad_cam, " (10 wanted)"),
    )
    for name, explain, wanted in methods_of_others:
        other = rate(lambda explain=explain: explain(backbone, normalized), len(normalized))  # type: ignore[misc] # bound now
        print(f"top-{TOP_K}: {name:16}{other:7.1f} images/s   camloc {explained / other:5.1f} times{wanted}")


def rate(run: Callable[[], object], count: int) -> float:
    """Return images per second, the median of some rounds after one that is not counted."""
    run()
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return count / statistics.median(taken)


def seen(localizer: Localizer, files: list[Path]) -> Inputs:
    """Return images as the network sees them."""
    viewing = Viewing(localizer.transform)
    return stacked([viewing(str(file), read_image(file)) for file in files], localizer.transform.size)


@torch.no_grad()
def bare_loop(localizer: Localizer, files: list[Path]) -> None:
    """Decode, resize and classify, with nothing else."""
    for start in range(0, len(files), BATCH):
        images = seen(localizer, files[start : start + BATCH]).images
        localizer._copies[0](images).softmax(dim=1)  # noqa: SLF001 - the network alone


def predicted(localizer: Localizer, files: list[Path]) -> None:
    """Predict as the command does, in one process as the bare loop."""
    names = [str(file) for file in files]
    dataset = UnlabelledDataset(
        names, lambda index: read_clipped_image(files[index], None), Viewing(localizer.transform)
    )
    batches = (stacked(batch, localizer.transform.size) for batch in load(dataset, BATCH, num_workers=0))
    for _ in localizer.stream(batches, Choice()):
        pass


def localized(localizer: Localizer, batch: Inputs) -> None:
    """Map and box five classes of each image."""
    for _ in localizer.stream([batch], Choice(top_k=TOP_K)):
        pass


def by_torchcam_cam(backbone: nn.Module, images: Tensor) -> None:
    """Map five classes of each image."""
    with methods.CAM(backbone, MAPS, fc_layer=LINEAR) as explain:
        _by_torchcam(explain, backbone, images)


def by_torchcam_grad_cam(backbone: nn.Module, images: Tensor) -> None:
    """Map five classes of each image."""
    with methods.GradCAM(backbone, MAPS) as explain:
        _by_torchcam(explain, backbone, images, retain_graph=True)


def _by_torchcam(explain: Any, backbone: nn.Module, images: Tensor, **options: bool) -> None:  # noqa: ANN401 - any of its methods
    for image in images:
        scores = backbone(image[None])
        for index in scores[0].topk(TOP_K).indices.tolist():
            explain(index, scores, **options)


def by_grad_cam(backbone: nn.Module, images: Tensor) -> None:
    """Map five classes of each image."""
    with GradCAM(backbone, [backbone.get_submodule(MAPS)]) as explain:
        for image in images:
            with torch.no_grad():
                classes = backbone(image[None])[0].topk(TOP_K).indices.tolist()
            for index in classes:
                explain(image[None], [ClassifierOutputTarget(index)])


if __name__ == "__main__":
    main()

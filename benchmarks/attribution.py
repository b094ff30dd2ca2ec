"""GT-known localization error and time of every attribution method on one run: thresholds from val, counted on test.

python benchmarks/attribution.py RUN [METHOD... [option=value...]]    (attribution.METHOD of conf/attribution)

As ``camloc evaluate checkpoint=RUN attribution=METHOD views=none score_map=minmax``, in one process. Times are of the
maps alone, as multiples of CAM's in the same call. Best-centred-box and boxes are of the network's input.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torchvision.ops import box_iou

from camloc.attribution.contract import Attribution
from camloc.attribution.score_map import score_map
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.predictors.network import NetworkPredictor

ROOT = Path(__file__).parent.parent
METHODS = (
    *("cam", "grad_cam", "grad_cam_pp", "xgrad_cam", "layer_cam stages=2", "layer_cam stages=3", "bag_cams"),
    *("bag_cams stage=2", "score_cam num_maps=64", "eigen_cam", "eigen_cam centred=true", "pc1", "saliency"),
)
IOU_THRESHOLD = 0.5
THRESHOLDS = torch.arange(0, 100) / 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("methods", nargs="*", default=METHODS, help="names, each with options in the same word")
    given = parser.parse_args()
    config: Any = OmegaConf.load(given.run / "config.yaml")
    config.backbone.weights = None
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    backbone = instantiate(config.backbone)(num_classes=datamodule.num_classes)
    datamodule.use_input_size(backbone.input_spec.size)
    predictor = NetworkPredictor(backbone, instantiate(config.attribution)).eval()
    state = torch.load(given.run / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    network = {key.removeprefix("predictor."): value for key, value in state.items() if key.startswith("predictor.")}
    predictor.load_state_dict(network)
    unit = 0.0
    for method in given.methods:
        predictor.attribution = built(method)
        started = time.process_time()
        errors, _ = measured(predictor, datamodule, "val")
        chosen = int(errors.flip(0).argmin())  # of equally good ones the highest
        index = len(errors) - 1 - chosen
        found, seconds = measured(predictor, datamodule, "test")
        unit = unit or seconds
        print(
            f"{method:26}GT-known error {found[index]:.3f} at {THRESHOLDS[index]:.2f}   best {found.min():.3f}"
            f"   {seconds / unit:6.1f}x cam's time   ({time.process_time() - started:.0f} s)",
            flush=True,
        )


def built(method: str) -> Attribution:
    """Return a method of conf/attribution with options: ``layer_cam stages=2``."""
    name, *options = method.split()
    config = OmegaConf.merge(
        OmegaConf.load(ROOT / "conf" / "attribution" / f"{name}.yaml"), OmegaConf.from_dotlist(list(options))
    )
    attribution: Attribution = instantiate(config)
    return attribution


@torch.inference_mode()
def measured(predictor: NetworkPredictor, datamodule: LocalizationDataModule, split: str) -> tuple[Tensor, float]:
    """Return the GT-known error at every threshold, and the processor's seconds for maps."""
    hits, count, seconds = torch.zeros(len(THRESHOLDS)), 0, 0.0
    loader = datamodule.val_dataloader() if split == "val" else datamodule.test_dataloader()
    for batch in loader:
        started = time.process_time()
        cams = predictor.predict(batch).cams
        seconds += time.process_time() - started
        assert cams is not None
        boxes = largest_component_boxes(score_map(cams, batch.truth.map_size), THRESHOLDS)
        hits += hit(boxes, batch.truth.gt_boxes)
        count += len(cams)
    return 1 - hits / count, seconds


def hit(boxes: Tensor, gt_boxes: Sequence[Tensor]) -> Tensor:
    """Count, at each of T thresholds, the (P,T,4) boxes that overlap one of their true boxes by half."""
    pairs = zip(boxes, gt_boxes, strict=True)
    overlaps = [box_iou(of_pair.float(), true.float()).amax(dim=1) >= IOU_THRESHOLD for of_pair, true in pairs]
    return torch.stack(overlaps).sum(dim=0)


if __name__ == "__main__":
    main()

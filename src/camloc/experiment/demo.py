"""A page on this machine to try a network on one's own images: ``camloc demo checkpoint=RUN``."""

import base64
import io
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from camloc.attribution.contract import Attribution
from camloc.boxes import from_window
from camloc.data.images.decode import REMEDY, read_clipped_image
from camloc.data.sources.loading import Viewing
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.demo_server import DemoServer
from camloc.experiment.exchanged import exchanged_parts, was_chosen
from camloc.experiment.help import options
from camloc.experiment.interruption import active
from camloc.experiment.load import configured_localizer, one_device
from camloc.experiment.measuring.localized import apply_uncut, without_boxes
from camloc.experiment.run_directory import RunDirectory
from camloc.predictors.localizer import Localizer
from camloc.predictors.network import NetworkPredictor
from camloc.records import Pairs
from camloc.report.rgb import as_rgb

SHOWN_SIDE = 1024
"""Pixels of an image's larger side on the page."""
NUM_LIKELY = 5
SECONDS_BETWEEN_LOOKS = 0.2


def demo(config: DictConfig, run: RunDirectory) -> None:
    """Serve the page until a signal comes.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the network has no maps, or the port is taken.
    """
    run.write_config(config)
    localizer, _, of_run = configured_localizer(config, [one_device(config.device)])
    trial = Trial(localizer, methods(config), title=str(config.checkpoint), chosen_with=chosen_with(config, of_run))
    job = active()
    if job is not None:
        job.deferred = True  # Ctrl-C is how a demo ends
    with DemoServer(config.host, config.port, trial.about(), trial.answer) as server:
        Thread(target=server.serve_forever, name="demo", daemon=True).start()
        print(f"demo: {server.address}  (Ctrl-C ends it)", flush=True)  # noqa: T201 - to the user
        while job is not None and job.number is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        server.shutdown()


def methods(config: DictConfig) -> dict[str, Attribution]:
    """Return the attribution methods that need nothing but a trained network, by name, the run's own first."""
    parts = {_name(config.attribution): config.attribution, **_all_methods()}
    views = instantiate(config.views)
    return {name: views(instantiate(part)) for name, part in parts.items() if not OmegaConf.missing_keys(part)}


def chosen_with(config: DictConfig, of_run: DictConfig) -> str:
    """Return what the run's CAM threshold was chosen with: its method, and its other parts where they are replaced."""
    others = [part for part in exchanged_parts(config, of_run) if part != "attribution"]
    return " and ".join([_name(of_run.get("attribution")), *(f"the run's {part}" for part in others)])


def _all_methods() -> dict[str, Any]:
    folder = configuration_directory() / "attribution"
    return {name: OmegaConf.load(folder / f"{name}.yaml") for name in options("attribution", [folder.parent])}


def _name(attribution: DictConfig | None) -> str:
    return next((name for name, part in _all_methods().items() if part == attribution), "of_run")


class Trial:
    """Answers what a network says of one image.

    Args:
        localizer: Of one device.
        attributions: By name, the first one is offered first.
        title: What the page says that it shows.
        chosen_with: What the CAM threshold was chosen with, where it was chosen: the page offers other methods too.

    Raises:
        ValueError: If the network predicts boxes itself and has no maps.
    """

    def __init__(
        self, localizer: Localizer, attributions: Mapping[str, Attribution], title: str, chosen_with: str
    ) -> None:
        if not isinstance(localizer.predictor, NetworkPredictor):
            raise ValueError("this network predicts boxes itself and has no maps to show; use camloc predict")  # noqa: TRY004 - a run's, not a caller's
        self._localizer, self._attributions, self._title = localizer, attributions, title
        self._chosen_with = chosen_with
        self._predictor = localizer.predictor
        self._lock = Lock()  # one image at a time, however many pages are open

    def about(self) -> dict[str, Any]:
        """Return what the page must know beforehand, by names of JSON."""
        threshold = self._localizer.placing.threshold
        return {
            "title": self._title,
            "class_names": list(self._localizer.class_names),
            "methods": list(self._attributions),
            "cam_thresholds": self._localizer.placing.shown_thresholds,
            "cam_threshold": None if threshold is None else threshold.value,
            "threshold_source": None if threshold is None else threshold.source,
            "chosen_with": self._chosen_with if threshold is not None and was_chosen(threshold.source) else None,
        }

    def answer(self, encoded: bytes, method: str, class_index: int | None = None) -> dict[str, Any]:
        """Localize a class in an image.

        Args:
            encoded: A file of any kind that is read.
            method: One of the attribution methods.
            class_index: 0-based; null for the most probable class.

        Returns:
            ``image``, a JPEG of it as an address; its ``width`` and ``height``; ``likely``, the most probable classes
            with their probabilities; the ``class`` that is localized with its ``probability``; ``map``, base64 of
            ``map_size`` x ``map_size`` bytes, 255 for a score of 1; the ``window`` of the image that it covers; and
            ``boxes`` in pixels of the image, null for none, at each CAM threshold, or one where boxes have none.

        Raises:
            ValueError: If the file cannot be read, the method cannot map this network, or there is no such class.
        """
        localizer = self._localizer
        if method not in self._attributions:
            raise ValueError(f"method={method} is none of {', '.join(self._attributions)}")
        if class_index is not None and not 0 <= class_index < len(localizer.class_names):
            raise ValueError(f"class={class_index} must lie in 0 to {len(localizer.class_names) - 1}")
        with TemporaryDirectory() as folder:
            file = Path(folder, "image")
            file.write_bytes(encoded)
            try:
                image, _ = read_clipped_image(file, localizer.intensity)
            except ValueError as error:
                raise ValueError(_of_upload(str(error), file)) from error
        seen = Viewing(localizer.transform, SHOWN_SIDE)("image", image)
        if seen.image is None or seen.shown is None:
            raise ValueError("the image was not prepared")
        device = localizer.devices[0]

        def choose(logits: torch.Tensor) -> Pairs:
            if class_index is None:
                return Pairs.most_likely(logits, 1)
            return Pairs(torch.zeros(1, dtype=torch.int64, device=device), torch.tensor([class_index], device=device))

        with self._lock, torch.no_grad():
            network_input = self._predictor.normalize(seen.image[None].to(device))
            logits, pairs, cams = self._attributions[method](self._predictor.backbone, network_input, choose)
            score_maps = localizer.placing.score_map(cams, localizer.transform.size).cpu()
        logits = logits.float().cpu()[0]
        probabilities = logits.sigmoid() if localizer.several_labels else logits.softmax(dim=0)
        shown = int(pairs.classes[0])
        likely = probabilities.topk(min(NUM_LIKELY, len(probabilities)))
        return {
            "image": _address(as_rgb(seen.shown)),
            "width": seen.size[1],
            "height": seen.size[0],
            "likely": list(zip(likely.indices.tolist(), likely.values.tolist(), strict=True)),
            "class": shown,
            "probability": float(probabilities[shown]),
            "map": base64.b64encode((score_maps[0] * 255).round().clamp(0, 255).byte().numpy().tobytes()).decode(),
            "map_size": localizer.transform.size[0],
            "window": list(seen.window),
            "boxes": self._boxes(score_maps, shown, seen.image, seen.window),
        }

    def _boxes(
        self, score_maps: torch.Tensor, shown: int, image: torch.Tensor, window: tuple[int, int, int, int]
    ) -> list[list[float] | None]:
        placing = self._localizer.placing
        if placing.threshold is not None:
            placed = placing.boxes_at_shown_thresholds(score_maps, [shown], window)[0]
        else:
            rule: Any = placing.box_rule
            boxes = without_boxes(apply_uncut(rule, score_maps, image[None]), torch.tensor([shown]), placing.objectless)
            placed = from_window(boxes.double(), window, self._localizer.transform.size)
        return [box.tolist() if bool(box[2] > box[0]) else None for box in placed]


def _of_upload(message: str, file: Path) -> str:
    """Return what is wrong with a file in the words of who sent it, who knows neither its place nor a data set."""
    said = message.removesuffix(REMEDY).replace(f"the image {file}", "the image")
    return said.replace(str(file), "the image")


def _address(pixels: Any) -> str:  # noqa: ANN401 - an array
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""Localize classes in images without labels: ``camloc predict checkpoint=RUN source=IMAGES``."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from camloc.data.images.intensity import Intensity
from camloc.data.sources.loading import Unlabelled, Viewing
from camloc.experiment.exchanged import exchanged_parts, refuse_exchanged_parts
from camloc.experiment.interruption import active
from camloc.experiment.load import configured_localizer, one_device
from camloc.experiment.predict_output import ImageFiles, side_to_show, write_at_end
from camloc.experiment.predict_source import Opened, open_source
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import printable
from camloc.export.predictions_jsonl import PredictionLines, Predictions
from camloc.export.replaced import replaced
from camloc.localized import LocalizedImage
from camloc.predictors.localizer import Localizer, stacked
from camloc.predictors.placing import Choice, Inputs

NUM_SHOWN = 10
"""Unreadable images that are named on the screen."""


def predict(config: DictConfig, run: RunDirectory) -> None:
    """Localize classes in every image of a source; ``predictions.jsonl`` grows with each batch.

    Raises:
        FileNotFoundError: If there is no such checkpoint or source.
        ValueError: If an option does not apply to the checkpoint or the source.
    """
    run.write_config(config)
    localizer, file, of_run = configured_localizer(config, _devices(config.device, config.devices), config.precision)
    save = list(config.save)
    shows, keeps_maps = not {"overlays", "page"}.isdisjoint(save), "maps" in save
    maps = keeps_maps or (shows and localizer.placing.has_maps)
    choice = Choice(config.probability, config.top_k, config.boxes, config.min_size, config.masks, maps)
    localizer.placing.check(choice)
    if config.cam_threshold is not None and localizer.placing.threshold is None:
        raise ValueError("cam_threshold has no effect: boxes of this network have none; leave it out")
    if not localizer.placing.has_maps and (parts := exchanged_parts(config, of_run)):
        raise ValueError(
            f"{file} was trained with boxes and predicts boxes itself; there are no maps, so leave out "
            f"{', '.join(parts)}"
        )
    if localizer.placing.threshold is not None:
        refuse_exchanged_parts(config, of_run, localizer.placing.threshold.source, "cam_threshold=X")
    viewing = Viewing(localizer.transform, side_to_show(save))
    source = open_source(config, viewing, localizer.intensity)
    said = [source.described, _threshold_line(localizer), _choice_line(localizer, choice)]
    said += [f"note: {note}" for note in source.notes]
    for line in (f"checkpoint: {file}", *said):
        _say(line)
    if not source.can_go_on:
        run.found.unlink(missing_ok=True)  # a video's overlay cannot be continued
    with PredictionLines(run.found) as lines:
        files = ImageFiles(run, save, source.frames_per_second, localizer.placing, choice.min_size)
        _predict_all(localizer, choice, source, lines, files)
    found = Predictions(run.found)
    notes = write_at_end(run, save, found, localizer.placing, model_version=f"camloc {file}", said=said)
    _conclude(run, localizer, found, [*source.notes, *notes])


def _predict_all(
    localizer: Localizer, choice: Choice, source: Opened, lines: PredictionLines, files: ImageFiles
) -> None:
    """Predict what is not done; a signal ends a camera or a stream, and interrupts anything else after the batch."""
    done = lines.done
    if done:
        _say(f"{len(done):,} images are done already")
    lines.append(LocalizedImage(name, (0, 0), error=reason) for name, reason in source.unreadable if name not in done)
    job = active()
    if job is not None:
        job.deferred = True
    with ExitStack() as stack:
        stack.enter_context(files)
        progress = stack.enter_context(_progress())
        task = progress.add_task("predicting", total=source.total, completed=len(done), speed="", visible=False)
        started, number = time.monotonic(), 0
        for batch, found in _localized(localizer, choice, source.batches(done)):
            for position, (seen, image) in enumerate(zip(batch, found, strict=True), start=lines.number):
                if image.error is None:
                    files.write(position, image, seen.shown)
            lines.append(found)
            number += len(batch)
            passed = time.monotonic() - started
            speed = f"{number / passed:.1f} images/s"
            progress.update(task, advance=len(batch), speed=speed, visible=passed > SECONDS_WITHOUT_PROGRESS)
            if job is not None and job.number is not None:
                break
    if job is not None and (source.ends or job.number is None):
        job.raise_pending()


def _localized(
    localizer: Localizer, choice: Choice, batches: Iterator[list[Unlabelled]]
) -> Iterator[tuple[list[Unlabelled], list[LocalizedImage]]]:
    """Yield batches with what is found in them; images that could not be read have their error in their place."""
    held: list[list[Unlabelled]] = []

    def inputs() -> Iterator[Inputs]:
        for batch in batches:
            held.append(batch)
            yield stacked(batch, localizer.transform.size)

    for found in localizer.stream(inputs(), choice):
        batch, places = held.pop(0), iter(found)
        yield (
            batch,
            [
                next(places)._replace(seconds=one.seconds)
                if one.error is None
                else LocalizedImage(one.name, (0, 0), error=one.error)
                for one in batch
            ],
        )


SECONDS_WITHOUT_PROGRESS = 2


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _devices(device: str, number: int) -> list[torch.device]:
    """Return as many devices as are asked for, of one kind.

    Raises:
        ValueError: If there are fewer.
    """
    try:
        first = one_device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device} is none of torch's: {str(error).splitlines()[0]}") from None
    if first.type == "cuda":
        available = torch.cuda.device_count()
        start = first.index or 0
        if start + number > available:
            raise ValueError(
                f"device={device} devices={number} asks for {number} GPUs from number {start} on, and this machine "
                f"has {available}; give fewer devices, or device=cpu"
            )
        return [torch.device("cuda", start + place) for place in range(number)]
    return [first] * number


def _threshold_line(localizer: Localizer) -> str:
    threshold = localizer.placing.threshold
    if threshold is None:
        return "CAM threshold: none, boxes are not cut out of maps at one"
    meant = {
        "val": "chosen on val in training",
        "pseudo": "chosen in training, on pseudo boxes of val",
        "fixed": "fixed for the training",
        "given": "given",
        "assumed": "an assumption: the run had no boxes to choose one on; cam_threshold=X gives another",
    }
    return f"CAM threshold: {threshold.value:g}, {meant[threshold.source]}"


def _choice_line(localizer: Localizer, choice: Choice) -> str:
    probability, top_k = localizer.limits(choice)
    most = "" if top_k is None else "the most probable one" if top_k == 1 else f"the {top_k} most probable"
    least = "" if probability is None else f"from a probability of {probability:g}"
    number = len(localizer.class_names)
    return f"classes: of {number:,} {', '.join(part for part in (most, least) if part)}; boxes: {choice.boxes}"


def _conclude(run: RunDirectory, localizer: Localizer, found: Predictions, notes: Sequence[str]) -> None:
    """Write ``summary.json`` and ``unreadable.json``, and say what was found."""
    counts = dict.fromkeys(("images", "unreadable", "clipped", "nothing_found", "without_box", "boxes"), 0)
    unreadable: list[dict[str, str]] = []
    first_clipped: LocalizedImage | None = None
    for image in found:
        counts["images"] += 1
        if image.error is not None:
            counts["unreadable"] += 1
            unreadable.append({"image": image.name, "reason": image.error})
            continue
        if image.clipped:
            counts["clipped"] += 1
            first_clipped = first_clipped or image
        counts["nothing_found"] += not image.classes
        counts["without_box"] += bool(image.classes) and not image.boxes
        counts["boxes"] += len(image.boxes)
    if first_clipped is not None and localizer.intensity is not None:
        said = _clipped_note(counts["clipped"], first_clipped, localizer.intensity)
        notes = [*notes, said]
        _say(f"note: {said}")
    threshold = localizer.placing.threshold
    summary: dict[str, Any] = {
        **counts,
        "cam_threshold": None if threshold is None else threshold.value,
        "threshold_source": None if threshold is None else threshold.source,
        "class_names": list(localizer.class_names),
        "notes": list(notes),
    }
    for path, content in ((run.summary, summary), (run.unreadable, unreadable)):
        with replaced(path) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _say(
        f"{counts['images']:,} images: {counts['boxes']:,} boxes, {counts['nothing_found']:,} with nothing found, "
        f"{counts['without_box']:,} with classes and no box, {counts['unreadable']:,} unreadable"
    )
    for one in unreadable[:NUM_SHOWN]:
        _say(f"unreadable: {one['image']}: {one['reason']}")
    if len(unreadable) > NUM_SHOWN:
        _say(f"and {len(unreadable) - NUM_SHOWN:,} more, listed in {run.unreadable}")
    page = run.report / "index.html"
    _say(f"results: {run.path}{f', to look at: {page}' if page.exists() else ''}")


def _clipped_note(number: int, first: LocalizedImage, intensity: Intensity) -> str:
    return (
        f"{number:,} images have values outside of {intensity.low:g} to {intensity.high:g}, the range of training, "
        f"which are black or white; first {first.name}, {first.clipped:.2%} of its values; "
        "intensity=[low,high] shows all images in another range"
    )


def _say(line: str) -> None:
    print(printable(line), flush=True)  # noqa: T201 - to the user

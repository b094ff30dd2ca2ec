"""Whether maps and boxes are made as in the training, on whose maps a CAM threshold was chosen. Imports no torch."""

from omegaconf import DictConfig

MAP_PARTS = ("attribution", "views", "score_map", "box_rule")
"""Of a configuration, which maps and their boxes are made with."""


def exchanged_parts(config: DictConfig, of_run: DictConfig) -> list[str]:
    """Return which of :data:`MAP_PARTS` differ from those of a run.

    Args:
        config: Of what the run's checkpoint is used for.
        of_run: As the run saved it.

    Example:
        >>> from omegaconf import OmegaConf
        >>> of_run = OmegaConf.create({"attribution": {"_target_": "a"}, "views": {"_target_": "b"}})
        >>> exchanged_parts(OmegaConf.merge(of_run, {"attribution": {"_target_": "c"}, "box_rule": {}}), of_run)
        ['attribution']
    """
    # A part that is left out is null in one file and empty in another.
    return [part for part in MAP_PARTS if (config.get(part) or {}) != (of_run.get(part) or {})]


def was_chosen(source: str) -> bool:
    """Return whether a CAM threshold of this source was chosen on maps, and is meant for maps made like those."""
    return source in ("val", "pseudo")


def refuse_exchanged_parts(config: DictConfig, of_run: DictConfig, source: str, fix: str) -> None:
    """Refuse a checkpoint's CAM threshold for maps or boxes that are made otherwise than those it was chosen on.

    Args:
        config: See :func:`exchanged_parts`.
        of_run: Likewise.
        source: Of the threshold that is to be used.
        fix: What the user can give instead.

    Raises:
        ValueError: Naming the parts and the fix.
    """
    parts = exchanged_parts(config, of_run) if was_chosen(source) else []
    if parts:
        raise ValueError(
            f"the checkpoint's CAM threshold was chosen with the run's own {' and '.join(parts)}, and another is used "
            f"here; give {fix}"
        )

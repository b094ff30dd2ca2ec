"""A configuration as a run saves it."""

import re
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf


def saved_values(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as it is saved: resolved, but for what refers to an option of ``localization``.

    An evaluation that changes a threshold changes it so for every protocol that follows it.

    Example:
        >>> given = {"seed": 1, "localization": {"cut": 0.2, "a": "${localization.cut}", "b": "${seed}"}}
        >>> saved_values(OmegaConf.create(given))["localization"]
        {'cut': 0.2, 'a': '${localization.cut}', 'b': 1}
    """
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    if isinstance(config.get("localization"), DictConfig):
        raw = OmegaConf.to_container(config.localization, resolve=False)
        resolved["localization"] = _following(raw, resolved["localization"])
    return cast(dict[str, Any], resolved)


def _following(raw: Any, resolved: Any) -> Any:  # noqa: ANN401 - any part of a configuration
    if isinstance(raw, dict):
        return {name: _following(part, resolved[name]) for name, part in raw.items()}
    refers = re.findall(r"\$\{([^${},]*)", raw) if isinstance(raw, str) else []
    # A reference to an option of one protocol is resolved: what reads a saved configuration refuses it.
    return raw if refers and all(re.fullmatch(r"localization\.\w+|either:", one) for one in refers) else resolved

"""Every option of a composed configuration, checked by name, type and range before anything is built or loaded.

What is built is checked against the signature of its ``_target_``; what nothing is built from, against ``options.py``.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

import torch
from hydra._internal.utils import _locate
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from camloc.backbones.weights import find_file
from camloc.experiment.build import check_trainer, instantiate_all, runs_in_parts, trains_with_boxes
from camloc.experiment.composition import near, one_line
from camloc.experiment.options import (
    Built,
    DemoOptions,
    EvaluateOptions,
    ExportOptions,
    PredictOptions,
    SvmOptions,
    TrainOptions,
)
from camloc.experiment.run_directory import VERSION_KEY
from camloc.experiment.run_job import message
from camloc.experiment.signatures import Parameter, Signature, allowed, fits, shown, signature_of
from camloc.experiment.unused_options import (
    unused_in_evaluation,
    unused_in_prediction,
    unused_in_training,
    unused_with_boxes,
)

_HYDRAS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
_UNKNOWN = Built(partial=None)
"""Of what is part of a part."""


def check_training(config: DictConfig, given: Sequence[str]) -> None:
    """Check what ``camloc train`` is configured with.

    Args:
        config: As composed.
        given: The keys that the command line sets, without their values.

    Raises:
        ValueError: Naming every option that is unknown, does not fit, or has no effect.
    """

    def unused(config: DictConfig, given: Sequence[str]) -> Iterator[str]:
        yield from unused_in_training(config, given)
        if trains_with_boxes(config):
            yield from unused_with_boxes(given)
        if config.compile and runs_in_parts(config):
            name = config.objective._target_.rpartition(".")[2]
            yield f"compile=true has no effect with the objective {name}, which runs parts of the network"

    _check(config, TrainOptions, given, unused)


def check_evaluation(config: DictConfig, given: Sequence[str]) -> None:
    """Check what ``camloc evaluate`` is configured with; the same arguments and errors as :func:`check_training`."""
    _check(config, EvaluateOptions, given, unused_in_evaluation)


def check_prediction(config: DictConfig, given: Sequence[str]) -> None:
    """Check what ``camloc predict`` is configured with; the same arguments and errors as :func:`check_training`."""
    _check(config, PredictOptions, given, unused_in_prediction)


def check_export(config: DictConfig, given: Sequence[str]) -> None:
    """Check what ``camloc export`` is configured with; the same arguments and errors as :func:`check_training`."""
    _check(config, ExportOptions, given, lambda *_: iter(()))


def check_demo(config: DictConfig, given: Sequence[str]) -> None:
    """Check what ``camloc demo`` is configured with; the same arguments and errors as :func:`check_training`."""
    _check(config, DemoOptions, given, lambda *_: iter(()))


def check_svm(config: DictConfig, given: Sequence[str]) -> None:
    """Check what ``camloc svm`` is configured with; the same arguments and errors as :func:`check_training`."""
    _check(config, SvmOptions, given, lambda *_: iter(()))


def _check(
    config: DictConfig,
    schema: type[Any],
    given: Sequence[str],
    unused: Callable[[DictConfig, Sequence[str]], Iterator[str]],
) -> None:
    values: Any = OmegaConf.to_container(config, resolve=True)
    problems = list(_Check(config, given).mapping("", values, schema))
    if not problems:  # what follows reads options that are known to fit
        problems = [*_needed(config)] or [*_out_of_range(config), *unused(config, given)]
    if problems:
        raise ValueError("; ".join(problems))


class _Check:
    """Walks a configuration and yields its problems.

    Args:
        config: As composed: its interpolations say which keys of a user's own are read.
        given: See :func:`check_training`.
    """

    def __init__(self, config: DictConfig, given: Sequence[str]) -> None:
        self._given = given
        self._raw: Any = OmegaConf.to_container(config, resolve=False)
        self._misfits: set[str] = set()
        # A saved configuration is resolved: which of its keys were read cannot be seen any more.
        is_saved = VERSION_KEY in config or config.get("checkpoint") is not None
        self._interpolations = None if is_saved else re.findall(r"\$\{[^}]*", OmegaConf.to_yaml(config, resolve=False))

    def mapping(self, key: str, values: Mapping[str, Any], schema: type[Any]) -> Iterator[str]:
        """Check a mapping against a TypedDict."""
        hints = get_type_hints(schema, include_extras=True)
        prefix = f"{key}." if key else ""
        for name in values:
            if name not in hints and not self._is_read(f"{prefix}{name}"):
                suggestion = near(f"{prefix}{name}", (f"{prefix}{known}" for known in hints))
                yield f"{prefix}{name} is not an option{suggestion}"
        for name, hint in hints.items():
            annotation = get_args(hint)[0] if get_origin(hint) is NotRequired else hint
            if name in values:
                yield from self._value(f"{prefix}{name}", values[name], annotation)
            elif name in schema.__required_keys__:
                yield f"{prefix}{name} is missing and must be given"

    def _value(self, key: str, value: Any, annotation: Any) -> Iterator[str]:  # noqa: ANN401 - any configured value
        built = next((mark for mark in get_args(annotation)[1:] if isinstance(mark, Built)), None)
        if built is not None:
            yield from self._parts(key, value, built)
        elif is_typeddict(annotation):
            if isinstance(value, Mapping):
                yield from self.mapping(key, value, annotation)
            else:
                yield _misfit(key, value, Mapping[str, Any])
        elif not fits(value, annotation):
            self._misfits.add(key)
            yield _misfit(key, value, annotation)

    def _parts(self, key: str, value: Any, built: Built) -> Iterator[str]:  # noqa: ANN401 - any configured value
        if built.optional and value in (None, {}):
            return
        if not isinstance(value, Mapping) or not value:
            wanted = "a mapping of names to parts" if built.several else "a part, chosen by name"
            yield f"{key}={shown(value)} must be {wanted}"
        elif built.several:
            for name, part in value.items():
                if part is not None:
                    yield from self._part(f"{key}.{name}", part, built)
        else:
            yield from self._part(key, value, built)

    def _part(self, key: str, node: Any, built: Built) -> Iterator[str]:  # noqa: ANN401 - any configured value
        if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
            found = key if isinstance(node, Mapping) else f"{key}={shown(node)}"
            yield f"{found} has no _target_: nothing can be built from it, and null leaves it out"
            return
        try:
            target = _locate(node["_target_"])
        except Exception as error:  # noqa: BLE001 - a module of the user's own may raise anything
            yield f"{key}._target_={node['_target_']} cannot be imported: {one_line(error)}"
            return
        if not callable(target):
            yield f"{key}._target_={node['_target_']} is nothing that can be called"
            return
        is_partial = node.get("_partial_", False)
        if not isinstance(is_partial, bool) or built.partial not in (None, is_partial):
            wanted = "true or false" if built.partial is None else shown(built.partial)
            yield f"{key}._partial_={shown(is_partial)} must be {wanted}"
        yield from self._arguments(key, node, built, signature_of(target))

    def _arguments(self, key: str, node: Mapping[str, Any], built: Built, signature: Signature) -> Iterator[str]:
        by_position = built.positional + len(node.get("_args_") or ())
        taken = {*list(signature.parameters)[:by_position], *built.names}
        options = {name: known for name, known in signature.parameters.items() if name not in taken}
        for name, value in node.items():
            if name in _HYDRAS:
                continue
            if name in taken and (name in signature.parameters or signature.is_open):
                yield f"{key}.{name} is set by camloc itself"
            elif name in options:
                yield from self._argument(f"{key}.{name}", value, options[name], built.limits.get(name))
            elif signature.is_open:
                yield from self._nested(f"{key}.{name}", value)
            else:
                known = (f"{key}.{option}" for option in options)
                yield f"{key}.{name} is not an option of {node['_target_']}{near(f'{key}.{name}', known)}"
        # What is part of a part is completed by whatever it is part of.
        missing = [name for name, known in options.items() if known.required and name not in node]
        if not (built == _UNKNOWN and node.get("_partial_")):
            yield from (f"{key}.{name} must be given, for {node['_target_']}" for name in missing)

    def _argument(self, key: str, value: Any, parameter: Parameter, limits: Any) -> Iterator[str]:  # noqa: ANN401 - any of both
        if _has_target(value):
            yield from self._nested(key, value)
            return
        annotation = parameter.annotation if limits is None else limits
        is_default = type(value) is type(parameter.default) and value == parameter.default
        if not is_default and not fits(value, annotation) and not self._is_taken_from_a_misfit(key):
            yield _misfit(key, value, annotation)

    def _nested(self, key: str, value: Any) -> Iterator[str]:  # noqa: ANN401 - any configured value
        if isinstance(value, Mapping) and "_target_" in value:
            yield from self._part(key, value, _UNKNOWN)
        elif isinstance(value, Mapping | list):
            for name, part in value.items() if isinstance(value, Mapping) else enumerate(value):
                yield from self._nested(f"{key}.{name}", part)

    def _is_taken_from_a_misfit(self, key: str) -> bool:
        raw = self._raw
        for name in key.split("."):
            raw = raw.get(name) if isinstance(raw, Mapping) else None
        found = re.fullmatch(r"\$\{([\w.]+)\}", raw) if isinstance(raw, str) else None
        return found is not None and found[1] in self._misfits

    def _is_read(self, key: str) -> bool:
        """Return whether a key that no option has is one of the user's own, which others refer to."""
        if self._interpolations is None:
            return not any(given == key or given.startswith(f"{key}.") for given in self._given)
        name = re.compile(rf"[{{.:,]{re.escape(key.rpartition('.')[2])}\b")
        return any(name.search(one) for one in self._interpolations)


def _misfit(key: str, value: Any, annotation: Any) -> str:  # noqa: ANN401 - any of both
    as_text = not isinstance(value, str) and isinstance(value, int | float) and fits(str(value), annotation)
    hint = f""" (as text: "{key}='{shown(value)}'")""" if as_text else ""
    return f"{key}={shown(value)} must be {allowed(annotation)}{hint}"


def _has_target(value: Any) -> bool:  # noqa: ANN401 - any configured value
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_has_target, value.values()))
    return isinstance(value, list) and any(map(_has_target, value))


def _needed(config: DictConfig) -> Iterator[str]:
    """Name what a recipe needs; ``???`` in it would leave an option as it was."""
    for key in OmegaConf.select(config, "paper.needs") or ():
        if OmegaConf.select(config, key) is None:
            yield f"{key} must be given: experiment=paper/{config.paper.recipe} is measured with it"


def _out_of_range(config: DictConfig) -> Iterator[str]:
    """Build what alone knows its ranges: protocols, trainer, the optimizer over one weight; find the weights."""
    refusals = (OSError, ValueError, InstantiationException)
    try:
        if "localization" in config:
            instantiate_all(config.localization.protocols)
    except refusals as error:
        yield message(error)
    if "trainer" in config:
        try:
            check_trainer(config)
        except refusals as error:
            said = message(error)
            # Lightning's words name no option of ours.
            yield said if said.startswith("trainer.") else f"trainer: {said}"
    if "_target_" in config.get("optimizer", {}):  # trainer=gpu leaves a part of one in an evaluation
        try:
            instantiate(config.optimizer)([torch.nn.Parameter(torch.zeros(1, 1))])
        except refusals as error:
            yield f"optimizer: {message(error)}"  # torch's words do not say which option they mean
    if all(OmegaConf.select(config, brings_weights) is None for brings_weights in ("resume", "checkpoint")):
        weights = OmegaConf.select(config, "backbone.weights")
        try:
            if isinstance(weights, str) and not weights.isidentifier():  # a name is the backbone's to know
                find_file(weights)
        except refusals as error:
            yield message(error)

"""What a callable takes, and whether a configured value fits: pydantic's strict reading of its annotations.

Strict, ``true`` is no number and ``"1"`` no count. Beartype and typeguard take ``True`` for an ``int``, look at some
entries of a list only, and know no ranges.
"""

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from camloc.export.csv_file import is_number

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
_WORDS: Mapping[Any, str] = {
    None: "null",
    NoneType: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


class Parameter(NamedTuple):
    """An argument that a callable takes by name."""

    annotation: Any
    """``inspect.Parameter.empty`` where nothing is said."""
    default: Any = inspect.Parameter.empty
    """``inspect.Parameter.empty`` where none is known."""
    required: bool = False
    """Whether it must be given."""


class Signature(NamedTuple):
    """The arguments that a callable takes."""

    parameters: Mapping[str, Parameter]
    """By name, in order; of a class with ``**kwargs`` also those of its bases."""
    is_open: bool
    """Whether it takes any other name too."""


def signature_of(target: Callable[..., Any]) -> Signature:
    """Return what a function or a class takes.

    Example:
        >>> def crop(size: int, *, exact: bool = False) -> None: ...
        >>> signature_of(crop).parameters["exact"].default, signature_of(crop).is_open
        (False, False)
    """
    parameters: dict[str, Parameter] = {}
    is_open = True
    for depth, function in enumerate(_functions(target)):
        try:
            found = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # written in C
            break
        hints = _hints(function)
        is_open = False
        for parameter in found[1:] if isinstance(target, type) else found:
            hint = hints.get(parameter.name, parameter.empty)
            if parameter.kind is parameter.VAR_KEYWORD:
                options = get_args(hint)[0] if get_origin(hint) is Unpack else None
                for name, annotation in _hints(options).items() if options else ():
                    parameters.setdefault(name, Parameter(annotation))
                is_open = options is None
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                # What a base requires may be given by the class itself.
                required = depth == 0 and parameter.default is parameter.empty
                parameters.setdefault(parameter.name, Parameter(hint, parameter.default, required))
        if not is_open:
            break
    return Signature(parameters, is_open)


def fits(value: Any, annotation: Any) -> bool:  # noqa: ANN401 - any of both
    """Return whether a value of a configuration may be given where an annotation stands.

    What an annotation does not say of plain values, as that of a callable or a protocol, is not refused.

    Args:
        value: Made of lists, mappings with text as keys, text, numbers, booleans and null.
        annotation: A type, with ranges in ``Annotated``.

    Example:
        >>> fits(1, int), fits(True, int), fits(1, float), fits(float("nan"), float), fits([1, 2], tuple[int, int])
        (True, False, True, False, True)
    """
    if annotation is inspect.Parameter.empty:
        return True
    try:
        # As JSON a list fits a tuple and text a path, and nothing else is converted.
        TypeAdapter(annotation, config=None if is_typeddict(annotation) else _STRICT).validate_json(json.dumps(value))
    except ValidationError:
        return False
    except (PydanticUserError, TypeError, NameError, ValueError):
        return True
    return True


def allowed(annotation: Any) -> str:  # noqa: ANN401, PLR0911 - any type, and each its own words
    """Describe the values that fit an annotation.

    Example:
        >>> allowed(Annotated[int, Ge(1)] | None), allowed(Literal["val", "test"])
        ('a whole number of at least 1 or null', 'val or test')
        >>> allowed(list[Annotated[float, Gt(0), Le(1)]])
        'a list, each a number above 0 and of at most 1'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        base, *limits = arguments
        bounds = " and ".join(bound for limit in limits for bound in _bounds(limit))
        return f"{allowed(base)} {bounds}".strip()
    if origin in (Union, UnionType):
        plain = [argument for argument in arguments if get_origin(argument) or argument in _WORDS] or arguments
        words = dict.fromkeys(map(allowed, plain))
        return " or ".join(word for word in words if word != _WORDS[int] or _WORDS[float] not in words)
    if origin is Literal:
        return " or ".join(shown(argument) for argument in arguments)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Collection):
        entries = " or ".join(dict.fromkeys(allowed(argument) for argument in arguments if argument is not Ellipsis))
        return f"a list, each {entries}"
    return str(getattr(annotation, "__name__", annotation))


def shown(value: Any) -> str:  # noqa: ANN401 - any configured value
    """Return a value as it stands in a configuration file; text that would be something else there is quoted.

    Example:
        >>> shown(True), shown(None), shown("true"), shown("a b"), shown([1, "x"])
        ('true', 'null', "'true'", 'a b', '[1, x]')
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {shown(part)}' for name, part in value.items())}}}"
    if isinstance(value, str):
        return f"'{value}'" if value.lower() in ("", "true", "false", "null") or is_number(value) else value
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _functions(target: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    if not isinstance(target, type):
        yield target
        return
    for base in target.__mro__[:-1]:
        for name in ("__init__", "__new__"):
            if name in vars(base):
                yield getattr(base, name)
                break


def _hints(target: Any) -> dict[str, Any]:  # noqa: ANN401 - a callable or a TypedDict
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError):  # names that only a type checker imports
        return {}


def _bounds(limit: Any) -> Iterator[str]:  # noqa: ANN401 - any annotation
    match limit:
        case Ge(ge=bound):
            yield f"of at least {bound}"
        case Gt(gt=bound):
            yield f"above {bound}"
        case Le(le=bound):
            yield f"of at most {bound}"
        case Lt(lt=bound):
            yield f"below {bound}"
        case MinLen(min_length=bound):
            yield f"with at least {bound} entry"

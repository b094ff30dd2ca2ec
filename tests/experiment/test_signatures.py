from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

import pytest
from annotated_types import Ge, Gt, Le, MinLen
from pytorch_lightning import Trainer
from torch.optim import SGD

from camloc.experiment.signatures import allowed, fits, shown, signature_of


class Options(TypedDict, total=False):
    size: int


class Base:
    def __init__(self, names: Sequence[str], **options: Unpack[Options]) -> None: ...


class Closed(Base):
    def __init__(self, count: int = 3, **options: Any) -> None: ...  # noqa: ANN401 - as a user may write it


class Open:
    def __init__(self, **options: Any) -> None: ...  # noqa: ANN401 - the same


@dataclass
class Held:
    width: int
    scale: float = 1.0


def test_options_behind_kwargs_are_those_of_the_bases() -> None:
    found = signature_of(Closed)
    assert list(found.parameters) == ["count", "names", "size"]
    assert not found.is_open
    assert not any(known.required for known in found.parameters.values())  # the class may give them itself
    assert signature_of(Base).parameters["names"].required
    assert signature_of(Open).is_open


def test_of_classes_dataclasses_and_functions() -> None:
    assert list(signature_of(Held).parameters) == ["width", "scale"]
    assert signature_of(SGD).parameters["nesterov"].default is False
    assert "max_epochs" in signature_of(Trainer).parameters
    assert signature_of(dict).is_open


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        ("1", int, False),
        (True, float, False),
        (1, float, True),
        (float("inf"), float, False),
        (float("nan"), float | None, False),
        (0, bool, False),
        ("true", bool, False),
        (1, str, False),
        (None, str, False),
        (None, str | None, True),
        ("val", Literal["val", "test"], True),
        ("tset", Literal["val", "test"], False),
        ([0.3, 1], Sequence[float], True),
        ("ab", Sequence[str], False),
        ([True], list[int], False),
        ([1, 2], tuple[int, int], True),
        ("/x", Path, True),
        (0, Annotated[int, Ge(1)], False),
        (None, Annotated[int, Ge(1)] | None, True),
        ([], Annotated[Sequence[int], MinLen(1)], False),
        ({"a": 1}, dict[str, int], True),
        (3, Any, True),
        (3, "Unknown", True),
    ],
)
def test_values_fit_as_they_are(value: Any, annotation: Any, expected: bool) -> None:  # noqa: ANN401 - any of both
    assert fits(value, annotation) is expected


def test_a_torch_signature_takes_numbers_only() -> None:
    lr = signature_of(SGD).parameters["lr"].annotation
    assert [fits(value, lr) for value in (0.1, 1, True, "0.1", None)] == [True, True, False, False, False]
    assert allowed(lr) == "a number"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | float | None, "a number or null"),
        (Annotated[float, Gt(0), Le(1)], "a number above 0 and of at most 1"),
        (Literal["val", True, "1"], "val or true or '1'"),
        (Annotated[Sequence[int], MinLen(1)], "a list, each a whole number with at least 1 entry"),
        (dict[str, int] | None, "a mapping or null"),
        (Callable[[int], int], "Callable"),
        (Held, "Held"),
    ],
)
def test_what_is_allowed_is_said_in_words(annotation: Any, words: str) -> None:  # noqa: ANN401 - any type
    assert allowed(annotation) == words


def test_text_that_would_be_something_else_is_shown_in_quotes() -> None:
    assert [shown(value) for value in ("1e3", "", "maybe", {"a": [None, 0.5]})] == [
        "'1e3'",
        "''",
        "maybe",
        "{a: [null, 0.5]}",
    ]

"""Methods and networks side by side, with where each CAM threshold came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from camloc.metrics.functional.bootstrap import Interval
from camloc.report.published import NOT_STATED, Published, published_numbers

SOURCES = ("", "val", "pseudo", "fixed", "oracle", NOT_STATED)
"""Of a number's CAM threshold, in the order of columns; empty where it has none."""
MAIN_SOURCES = ("val", "pseudo", "fixed", "", "oracle", NOT_STATED)
"""The same, from the one that a number is best quoted at."""


class Score(NamedTuple):
    """A number with its 95% interval, fractions."""

    value: float
    interval: tuple[float, float] | None = None


class Metric(NamedTuple):
    """What is compared."""

    key: str
    """Of ``metrics.json``."""
    title: str
    direction: Literal["min", "max"]

    @property
    def heading(self) -> str:
        """The title, with the direction where higher is better."""
        return self.title if self.direction == "min" else f"{self.title}, higher is better"


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Example:
        >>> Cost(trained_parameters=2_000_000, images=6000, seconds=120, training_seconds=100).cells
        ('60', '2.00 M', '2.0')
    """

    trained_parameters: int
    images: int
    """That were trained on, each as often as it was."""
    seconds: float
    """With ``val``."""
    training_seconds: float
    """Without it."""

    @property
    def images_per_second(self) -> float:
        """Of training."""
        return self.images / self.training_seconds if self.training_seconds > 0 else 0.0

    @property
    def cells(self) -> tuple[str, str, str]:
        """Images per second, trained parameters, minutes."""
        return f"{self.images_per_second:.0f}", f"{self.trained_parameters / 1e6:.2f} M", f"{self.seconds / 60:.1f}"


NO_COST = ("", "", "")


@dataclass(frozen=True)
class BoardRow:
    """A method on a network.

    Example:
        >>> row = BoardRow("alexnet_gap", "cam", {"test/x": {"val": Score(0.25, (0.2, 0.3))}}, runs=[1])
        >>> row.main("test/x")
        ('val', Score(value=0.25, interval=(0.2, 0.3)))
    """

    network: str
    """Empty for a baseline without one."""
    method: str
    scores: Mapping[str, Mapping[str, Score]]
    """By key of ``metrics.json``, by source of the threshold."""
    runs: Sequence[int] = ()
    """Their numbers in the list of runs; none for a published row."""
    differences: Mapping[str, Interval] = field(default_factory=dict)
    """To plain CAM on the same network by key, fractions."""
    compared_at: str = ""
    """Source of the thresholds of both."""
    cost: Cost | None = None

    def main(self, key: str) -> tuple[str, Score] | None:
        """Return the number that is best quoted, with its source; null where there is none."""
        scores = self.scores.get(key, {})
        return next(((source, scores[source]) for source in MAIN_SOURCES if source in scores), None)

    @property
    def runs_text(self) -> str:
        """Which runs it is of."""
        return ", ".join(map(str, self.runs)) if self.runs else ""


@dataclass(frozen=True)
class Board:
    """All rows on the same test images."""

    data: str
    num_images: int
    metrics: Sequence[Metric]
    rows: Sequence[BoardRow]
    """Baselines without a network first; those of a network together, and published ones last among them."""

    @property
    def title(self) -> str:
        """The data set and how many images were measured."""
        return f"{self.data}, {self.num_images:,} test images"

    def of(self, metric: Metric) -> list[BoardRow]:
        """Return the rows that have a number."""
        return [row for row in self.rows if row.scores.get(metric.key)]

    def sources(self, metric: Metric) -> list[str]:
        """Return the sources that any row has."""
        return [source for source in SOURCES if any(source in row.scores.get(metric.key, {}) for row in self.rows)]

    @property
    def matrix_title(self) -> str:
        """What the table of methods x networks shows."""
        return f"{self.metrics[0].heading}, %, methods x networks; CAM thresholds from val unless another is named"

    def matrix(self) -> tuple[list[str], list[list[str]]] | None:
        """Return headings and rows of methods x networks by the first metric; null of fewer than two networks."""
        own = [row for row in self.rows if row.runs and row.network]
        networks = list(dict.fromkeys(row.network for row in own))
        if len(networks) < 2 or not self.metrics:  # noqa: PLR2004 - a column is no matrix
            return None
        key = self.metrics[0].key
        cells: dict[tuple[str, str], str] = {}
        for row in own:
            found = row.main(key)
            if found is not None:  # of several trainings the first
                source = "" if found[0] in ("", "val") else f" ({found[0]})"
                cells.setdefault((row.method, row.network), f"{percent(found[1])}{source}")
        methods = list(dict.fromkeys(row.method for row in own))
        return ["method", *networks], [
            [method, *(cells.get((method, network), "") for network in networks)] for method in methods
        ]


@dataclass(frozen=True)
class ListedRun:
    """A run that is in a board, with what must be known of it."""

    path: Path
    remarks: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The run and its remarks."""
        return "; ".join([str(self.path), *self.remarks])


def with_published(board: Board, networks: Mapping[str, str]) -> Board:
    """Add the published numbers of the same data set on the same networks, each after our rows of its network.

    Args:
        board: Without them.
        networks: What the rows call a network, to what it is called without its options.
    """
    known = {metric.key for metric in board.metrics}
    rows, shown = [], set[str]()
    for place, row in enumerate(board.rows):
        rows.append(row)
        is_last = all(other.network != row.network for other in board.rows[place + 1 :])
        network = networks.get(row.network, row.network)
        if is_last and network and network not in shown:
            shown.add(network)
            rows += _published_rows([n for n in published_numbers() if n.key in known], board, network)
    return Board(board.data, board.num_images, board.metrics, rows)


def _published_rows(numbers: Sequence[Published], board: Board, network: str) -> list[BoardRow]:
    of_row: dict[str, dict[str, dict[str, Score]]] = {}
    for number in numbers:
        if (number.data, number.num_images, number.network) == (board.data, board.num_images, network):
            scores = of_row.setdefault(f"{number.method}, published ({number.source})", {})
            scores.setdefault(number.key, {})[number.threshold_source] = Score(number.fraction)
    return [BoardRow(network, method, scores) for method, scores in of_row.items()]


def percent(score: Score) -> str:
    """Return a value in percent."""
    return f"{100 * score.value:.2f}"

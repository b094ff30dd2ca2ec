"""Runs to rows: those of the same weights and method together, each compared with plain CAM on the same network."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from camloc.experiment.leaderboard.names import PLAIN, Named, told_apart
from camloc.experiment.leaderboard.runs import BoardRun
from camloc.metrics.functional.bootstrap import Interval, paired_difference
from camloc.report.leaderboard import MAIN_SOURCES, Board, BoardRow, ListedRun, Metric, Score, with_published
from camloc.report.objects import are_same_objects

GT_KNOWN = "test/localization/gt_known_error"
CENTRED_BOX = "best centred box"


@dataclass
class _Row:
    """A row that is being made of one run or, of the same weights with other thresholds, several."""

    network: str
    method: str
    numbered: list[tuple[int, BoardRun]] = field(default_factory=list)

    @property
    def first(self) -> BoardRun:
        return self.numbered[0][1]


def make_boards(runs: Sequence[BoardRun]) -> tuple[list[Board], list[ListedRun]]:
    """Lay out runs: a board for each set of test images with their objects.

    Args:
        runs: In the order in which they are numbered.

    Returns:
        The boards, and the list of runs.
    """
    remarks: list[list[str]] = [list(run.remarks) for run in runs]
    sections: list[list[tuple[int, BoardRun]]] = []
    for number, run in enumerate(runs, start=1):
        of_names = [section for section in sections if _images(section[0][1]) == _images(run)]
        own = [one for one in of_names if are_same_objects(one[0][1].object_shares, run.object_shares)]
        if own:
            own[0].append((number, run))
            continue
        if of_names:
            remarks[number - 1].append(
                f"images share names with those of run {of_names[0][0][0]}, but not their objects"
            )
        sections.append([(number, run)])
    boards = [_board(numbered, remarks) for numbered in sections]
    return boards, [ListedRun(run.path, found) for run, found in zip(runs, remarks, strict=True)]


def _images(run: BoardRun) -> tuple[str, int, frozenset[str]]:
    return run.data, run.num_images, run.test_images


def _board(numbered: Sequence[tuple[int, BoardRun]], remarks: list[list[str]]) -> Board:
    runs = [run for _, run in numbered]
    networks = told_apart([run.network for run in runs])
    within = [
        Named(f"{network}\n{run.method.name}", run.method.options) for network, run in zip(networks, runs, strict=True)
    ]
    methods = [label.partition("\n")[2] for label in told_apart(within)]
    rows: list[_Row] = []
    for (number, run), network, method in zip(numbered, networks, methods, strict=True):
        row = next((row for row in rows if _belongs(run, row, network, method)), None)
        if row is None:
            row = _Row(network, method)
            rows.append(row)
        row.numbered.append((number, run))
    order = list(dict.fromkeys(networks))
    rows.sort(key=lambda row: (order.index(row.network), row.first.cam_views != PLAIN["views"]))
    metrics: dict[str, Metric] = {}
    for run in runs:
        metrics |= {metric.key: metric for metric in run.metrics if metric.key not in metrics}
    shown = [_baseline(numbered), *(_shown(row, rows, remarks) for row in rows)]
    board = Board(runs[0].data, runs[0].num_images, list(metrics.values()), [row for row in shown if row is not None])
    return with_published(board, {row.network: row.first.network.name for row in rows})


def _belongs(run: BoardRun, row: _Row, network: str, method: str) -> bool:
    """Tell whether a run measured what a row did, at a threshold from elsewhere."""
    same = (network, method, run.weights) == (row.network, row.method, row.first.weights)
    return same and all(run.source != other.source for _, other in row.numbered)


def _baseline(numbered: Sequence[tuple[int, BoardRun]]) -> BoardRow | None:
    """Return the row of the best centred box, which is the same in all runs on the same images."""
    for number, run in numbered:
        if run.centred_box is not None and GT_KNOWN in run.scores:
            return BoardRow("", CENTRED_BOX, {GT_KNOWN: {"oracle": run.centred_box}}, runs=[number])
    return None


def _shown(row: _Row, rows: Sequence[_Row], remarks: list[list[str]]) -> BoardRow:
    scores: dict[str, dict[str, Score]] = {}
    for _, run in row.numbered:
        for key, by_source in run.scores.items():
            scores[key] = {**by_source, **scores.get(key, {})}
    compared_at, differences = _differences(row, rows, remarks)
    return BoardRow(
        row.network,
        row.method,
        scores,
        runs=[number for number, _ in row.numbered],
        differences=differences,
        compared_at=compared_at,
        cost=next((run.cost for _, run in row.numbered if run.cost is not None), None),
    )


def _differences(row: _Row, rows: Sequence[_Row], remarks: list[list[str]]) -> tuple[str, dict[str, Interval]]:
    """Compare a row with plain CAM on the same network.

    It is one of a single view or, where there is none, of the row's views; of the same weights, or else the first.
    """
    candidates = [
        (number, run)
        for other in rows
        if other.network == row.network
        for number, run in other.numbered
        if run.cam_views is not None
    ]
    wanted = PLAIN["views"] if any(run.cam_views == PLAIN["views"] for _, run in candidates) else row.first.views
    for number, run in sorted(row.numbered, key=lambda found: MAIN_SOURCES.index(found[1].source)):
        of_source = [found for found in candidates if (found[1].source, found[1].cam_views) == (run.source, wanted)]
        of_source.sort(key=lambda found: found[1].weights != run.weights)
        if run.measured is None or not of_source or of_source[0][0] == number:
            continue
        place, base = of_source[0]
        if base.measured is None:
            continue
        try:
            found = _compared(run, base)
        except ValueError as error:
            remarks[number - 1].append(f"not compared with run {place}: {error}")
            continue
        remarks[number - 1].append(f"compared with run {place}")
        return run.source, found
    return "", {}


def _compared(run: BoardRun, base: BoardRun) -> dict[str, Interval]:
    """Compare what both have.

    Raises:
        ValueError: If they measured other images, or at another IoU.
    """
    ours, theirs = run.measured, base.measured
    if ours is None or theirs is None:
        return {}
    if ours.iou_threshold != theirs.iou_threshold:
        raise ValueError(
            f"a box is a hit from IoU {ours.iou_threshold:g} on here, and from {theirs.iou_threshold:g} there"
        )
    return {
        key: paired_difference(outcome, theirs.outcomes[key])
        for key, outcome in ours.outcomes.items()
        if key in theirs.outcomes
    }

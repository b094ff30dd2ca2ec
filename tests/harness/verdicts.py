"""What is right for a command whose input was damaged."""

import re
from collections import Counter
from dataclasses import dataclass, field

from tests.harness.forks import Ended

GOOD = frozenset({"same", "refused", "other", "resumed", "begun again", "skipped"})
"""Verdicts that are right.

``other`` is a different result of a file without checksum, which is another valid file. ``resumed`` went on from what
was kept, ``begun again`` from nothing, as was said: both with the result of a run that was not disturbed.
"""
TRACEBACK = "Traceback (most recent call last)"
_ERROR = re.compile(r"^(?:error|Error)\b", re.MULTILINE)


@dataclass
class Tally:
    """Verdicts of one kind of case."""

    kind: str
    seed: int
    verdicts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """A line for each wrong one: verdict, how to repeat it, and what was printed last."""

    def add(self, verdict: str, case: str, ended: Ended | None = None) -> None:
        """Count a case."""
        self.verdicts[verdict] += 1
        if verdict not in GOOD:
            printed = "" if ended is None else " | ".join(ended.stderr.strip().splitlines()[-2:])
            self.wrong.append(f"{verdict}: {self.kind} {case}: {printed[:300]}")


def refusal(ended: Ended) -> str:
    """Judge a command that must not go on: ``refused`` for one clear line, else what is wrong."""
    if ended.hung:
        return "hang"
    if TRACEBACK in ended.stderr + ended.stdout:
        return "traceback"
    if ended.code < 0:
        return f"signal {-ended.code}"
    if ended.code == 0:
        return "accepted"
    return "refused" if len(_ERROR.findall(ended.stderr)) == 1 else "not one line"


def judged(ended: Ended, *, is_same: bool, has_checksum: bool) -> str:
    """Judge a command on damaged input: the right result, or one clear line.

    Args:
        ended: The command.
        is_same: Whether its result is that of the undamaged input.
        has_checksum: Whether any other result is wrong.
    """
    verdict = refusal(ended)
    if verdict != "accepted":
        return verdict
    if is_same:
        return "same"
    return "wrong number" if has_checksum else "other"

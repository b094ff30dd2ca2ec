"""Damaged options: a changed name is refused, and no value ends in a traceback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from omegaconf import DictConfig, ListConfig, OmegaConf

from tests.harness.forks import run
from tests.harness.verdicts import Tally, refusal

SMALL = (
    *("datamodule.num_train=18", "datamodule.num_val=9", "datamodule.num_test=9", "datamodule.image_size=64"),
    *("datamodule.input_size=64", "datamodule.batch_size=9", "datamodule.num_workers=0", "trainer.accelerator=cpu"),
    "callbacks.gallery=null",
)
"""Of a training that ends in seconds."""
VALUES = (
    *("null", "true", "yes", "-1", "0", "1e999", "nan", "-inf", "99999999999999999999", "0.5", "word", "''"),
    *("'[/red]'", "[]", "[1,2]", "[[1],2]", "{}", "{a:1}", "???", "${seed}", "${nowhere}", "${oc.env:HOME}", "'${'"),
    *("[", "{a", "a b", "ä", "'\\n'", "../../x", "/dev/null", "/dev/zero", "-", "=", "1,2", "range(3)"),
    *("choice(a,b)", "\\"),
)


def overrides_part(seed: int, count: int, folder: Path, step: Callable[[str], None]) -> list[Tally]:
    """Damage one option of a training for each case, and judge the check before it.

    Raises:
        RuntimeError: If the configuration cannot be composed.
    """
    composed = run("train.py", [*SMALL, "--cfg", "job"], folder / "composed")
    if composed.code:
        raise RuntimeError(composed.stderr)
    keys = list(_leaves(OmegaConf.create(composed.stdout)))
    tallies = {kind: Tally(kind, seed) for kind in ("option's name", "option's value")}
    for number in range(count):
        random = Random(f"{seed} {number}")
        key = random.choice(keys)
        kind = random.choice(list(tallies))
        if kind == "option's name":
            override = f"{random.choice(('', '', '+', '++', '~'))}{_misspelt(random, key, keys)}"
            override += "" if override.startswith("~") else f"={random.choice(('1', 'null', 'word'))}"
        else:
            override = f"{key}={random.choice(VALUES)}"
        arguments = [*SMALL, "check_only=true", f"hydra.run.dir={folder / 'run'}", "overwrite=true", override]
        ended = run("train.py", arguments, folder / "work")
        verdict = refusal(ended)
        if verdict == "accepted" and kind == "option's value":
            verdict = "other"  # valid, or a part that this run has no use for
        tallies[kind].add(verdict, f"seed {seed}, case {number} ({override})", ended)
        step(f"{override}: {verdict}")
    return list(tallies.values())


def _leaves(config: object, prefix: str = "") -> Iterator[str]:
    if isinstance(config, DictConfig) and len(config):
        for key in config:
            # Interpolations are not resolved: only names are wanted.
            yield from _leaves(config._get_node(key), f"{prefix}.{key!s}" if prefix else str(key))
    elif not isinstance(config, ListConfig) or len(config):
        yield prefix


def _misspelt(random: Random, key: str, keys: list[str]) -> str:
    """Return a key that is none, with a letter left out, doubled or exchanged in one of its words."""
    while True:
        words = key.split(".")
        at = random.randrange(len(words))
        word = words[at]
        place = random.randrange(len(word))
        words[at] = random.choice(
            (word[:place] + word[place + 1 :], word[:place] + word[place] + word[place:], word + "s")
        )
        changed = ".".join(words)
        if words[at] and not any(one == changed or one.startswith(f"{changed}.") for one in keys):
            return changed

"""Damage to files: bytes anywhere, numbers and lines of texts, and objects that a configuration must not name."""

import re
from collections.abc import Callable
from random import Random

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_TARGET = re.compile(rb"(_target_|_partial_): ?\S+")
_NUMBERS = (b"-1", b"0", b"nan", b"inf", b"1e999", b"", b"99999999999999999999", b"9" * 5000, b"0x10", b"'", b"[1, 2]")
Mutation = Callable[[Random, bytes], bytes]


def flip_bit(random: Random, content: bytes) -> bytes:
    """Flip one bit."""
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def cut_off(random: Random, content: bytes) -> bytes:
    """Keep the beginning."""
    return content[: random.randrange(len(content))]


def remove(random: Random, content: bytes) -> bytes:
    """Take a piece out."""
    start = random.randrange(len(content))
    return content[:start] + content[start + random.randint(1, 64) :]


def insert(random: Random, content: bytes) -> bytes:
    """Put random bytes in."""
    place = random.randrange(len(content))
    return content[:place] + random.randbytes(random.randint(1, 64)) + content[place:]


def repeat(random: Random, content: bytes) -> bytes:
    """Write a piece twice."""
    start = random.randrange(len(content))
    end = start + random.randint(1, 256)
    return content[:end] + content[start:]


def overwrite(random: Random, content: bytes) -> bytes:
    """Replace a piece by zeros or random bytes."""
    start, length = random.randrange(len(content)), random.randint(1, 64)
    piece = random.choice((bytes(length), random.randbytes(length)))
    return content[:start] + piece + content[start + length :]


def damage_header(random: Random, content: bytes) -> bytes:
    """Flip one bit near the beginning or the end, where formats keep what they are."""
    near = random.randrange(min(len(content), 200))
    place = random.choice((near, len(content) - 1 - near))
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def other_number(random: Random, content: bytes) -> bytes:
    """Replace a number by what is none, or an extreme one."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return flip_bit(random, content)
    one = random.choice(found)
    return content[: one.start()] + random.choice(_NUMBERS) + content[one.end() :]


def lose_line(random: Random, content: bytes) -> bytes:
    """Leave a line out, or write it twice."""
    lines = content.splitlines(keepends=True)
    place = random.randrange(len(lines))
    return b"".join(lines[:place] + lines[place : place + 1] * random.choice((0, 2)) + lines[place + 1 :])


def swap_lines(random: Random, content: bytes) -> bytes:
    """Exchange two lines."""
    lines = content.splitlines(keepends=True)
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def name_a_call(canary: str) -> Mutation:
    """Return a mutation that makes a configuration name something that would leave a file behind."""
    hostile = (
        f"os.mkdir\n_args_: [{canary}]",
        f"os.system\n_args_: ['touch {canary}']",
        f"subprocess.check_output\n_args_: [[touch, {canary}]]",
        f"pathlib.Path.touch\nself: {canary}",
        f"builtins.open\nfile: {canary}\nmode: w",
        f"hydra.utils.instantiate\nconfig: {{_target_: os.mkdir, _args_: [{canary}]}}",
    )

    def mutation(random: Random, content: bytes) -> bytes:
        found = list(re.finditer(rb"^( *)_target_: .*$", content, re.MULTILINE))
        if not found:
            return content
        one = random.choice(found)
        indented = f"\n{one.group(1).decode()}".join(f"_target_: {random.choice(hostile)}".split("\n"))
        return content[: one.start()] + one.group(1) + indented.encode() + content[one.end() :]

    return mutation


ANY: tuple[Mutation, ...] = (flip_bit, cut_off, remove, insert, repeat, overwrite, damage_header)
TEXT: tuple[Mutation, ...] = (*ANY, other_number, other_number, other_number, lose_line, swap_lines)

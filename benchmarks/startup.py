"""How fast the entries answer: ``--cfg job`` against a Hydra application that does nothing.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 9
ROOT = Path(__file__).parent.parent
MINIMAL = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    pass

main()
"""


def seconds(*command: str) -> float:
    """Time one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        minimal = Path(folder, "minimal.py")
        minimal.write_text(MINIMAL, encoding="utf-8")
        commands = {
            "minimal Hydra application": (str(minimal), "--cfg", "job"),
            "train.py --cfg job": ("train.py", "--cfg", "job"),
            "evaluate.py --cfg job": ("evaluate.py", "--cfg", "job"),
            "train.py --help": ("train.py", "--help"),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                times[name].append(seconds(*command))
    baseline = statistics.median(times["minimal Hydra application"])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:28} {median:6.2f} s   {median / baseline:5.2f}x")


if __name__ == "__main__":
    main()

"""What evaluating again costs, as whole commands: forty CAM thresholds, and saved maps, against one evaluation.

python benchmarks/evaluation.py RUN
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
ROOT = Path(__file__).parent.parent
THRESHOLDS = ",".join(f"{index / 50:g}" for index in range(1, 41))


def seconds(*arguments: str) -> float:
    """Time ``evaluate.py``."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "evaluate.py", *arguments], cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    checkpoint = f"checkpoint={Path(sys.argv[1]).absolute()}"
    with tempfile.TemporaryDirectory() as folder:
        seconds(checkpoint, "save_score_maps=true", f"hydra.run.dir={folder}/saved")
        commands = {
            "one evaluation": (checkpoint, "localization.cam_threshold=0.3"),
            "forty thresholds": ("-m", checkpoint, f"localization.cam_threshold={THRESHOLDS}"),
            "from saved maps": (f"score_maps={folder}/saved/score_maps.npz", "localization.cam_threshold=0.3"),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(ROUNDS):
            for name, command in commands.items():
                where = f"{folder}/{name.replace(' ', '_')}_{number}"
                times[name].append(seconds(*command, f"hydra.run.dir={where}", f"hydra.sweep.dir={where}"))
    baseline = statistics.median(times["one evaluation"])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:20} {median:6.1f} s   {median / baseline:5.2f}x")


if __name__ == "__main__":
    main()

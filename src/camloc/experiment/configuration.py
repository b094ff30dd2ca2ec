"""Where the configuration is. Imports neither torch nor Lightning."""

from pathlib import Path

import camloc


def configuration_directory() -> Path:
    """Return the directory of the configuration files: ``camloc/conf`` where installed, a checkout's ``conf`` else."""
    package = Path(camloc.__file__).parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent.parent / "conf"

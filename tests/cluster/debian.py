"""What tests run of Debian's packages, unpacked into the cache: nothing is installed, no service starts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.cache import folder, locked
from tests.cluster.processes import run
from tests.cluster.steps import ClusterError, step


def unpacked(package: str, otherwise: str) -> Path:
    """The folder that stands for `/`. Raises ClusterError, with `otherwise`, where the machine has no apt."""
    target = folder("bin") / f"{package}-debian"
    if not target.exists():
        with locked(target.name):
            if not target.exists():
                _unpack(package, target, otherwise)
    return target


def _unpack(package: str, target: Path, otherwise: str) -> None:
    if shutil.which("apt-get") is None:
        raise ClusterError(otherwise)
    with step(f"fetching Debian's {package} package"), tempfile.TemporaryDirectory(dir=target.parent) as work:
        fetch = ["apt-get", "-qq", "download", package]
        if subprocess.run(fetch, cwd=work, capture_output=True, check=False).returncode:
            run("apt-get update", ["apt-get", "-q", "update"])
            run("apt-get download", fetch, cwd=Path(work))
        [archive] = Path(work).glob("*.deb")
        run("dpkg", ["dpkg", "-x", archive, Path(work) / "unpacked"])
        (Path(work) / "unpacked").rename(target)

"""Our images: built by buildah, tagged by content, kept in a registry folder in the cache that nodes serve from.

Building happens in namespaces of its own (`python -m tests.cluster.builder`), so that one kill ends it without a trace.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY, digest, folder, locked
from tests.cluster.processes import run_visibly
from tests.cluster.system import IMAGE_TOOLS, require

# Nodes resolve this name to their own registry; it is never looked up in DNS.
NODE_REGISTRY = "checkrein.local"
BASE_SUITE = "bookworm"  # Debian 12: Python 3.11
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
BASE_COMMAND = "sleep infinity"  # the node's pods get their sandbox from this image, too
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")


@dataclass(frozen=True)
class Recipe:
    """One image: its name, its tag (a digest over what it is made from), and where its Dockerfile and context are."""

    name: str
    tag: str
    dockerfile: Path | None = None
    context: Path = REPOSITORY
    base: str = "base"  # the image that it starts from

    @property
    def reference(self) -> str:
        """What a pod's `image` says."""
        return f"{registry()}/{self.name}:{self.tag}"


def registry() -> str:
    """Where pods pull from: CHECKREIN_REGISTRY of another cluster, else the node's own."""
    return os.environ.get("CHECKREIN_REGISTRY") or NODE_REGISTRY


def recipes() -> dict[str, Recipe]:
    """Every image by name; `base` is what the others start from. A tag is a digest over all that goes in."""
    base = digest([part.encode() for part in (BASE_SUITE, BASE_COMMAND, *BASE_PACKAGES)])
    shared = ("pyproject.toml", "constraints.txt", "LICENSE", ".dockerignore", "images/requirements.py")
    dependencies = [REPOSITORY / name for name in shared]
    operator = REPOSITORY / "operator"
    code = sorted(path for path in operator.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    named = [part for path in code for part in (str(path.relative_to(operator)).encode(), path)]
    found = [Recipe("base", base)]
    for name in ("operator", "trainer", "agent"):
        dockerfile = REPOSITORY / "images" / name / "Dockerfile"
        found.append(Recipe(name, digest([base.encode(), dockerfile, *dependencies, *named]), dockerfile))
    minio = Path(__file__).with_name("minio.Dockerfile")
    server = binaries.MINIO_MODULE.encode()
    found.append(Recipe("minio", digest([base.encode(), minio, server]), minio, folder("images", "minio")))
    # The trainer with environments that misbehave: how a user brings environments of their own, too.
    module = REPOSITORY / "tests" / "train" / "badenvs.py"
    dockerfile = Path(__file__).with_name("badenvs.Dockerfile")
    tag = digest([next(r.tag for r in found if r.name == "trainer").encode(), dockerfile, module])
    found.append(Recipe("badenvs", tag, dockerfile, module.parent, base="trainer"))
    return {recipe.name: recipe for recipe in found}


def references() -> Mapping[str, str]:
    """What pods say to get the images of this checkout: operator, trainer, agent, minio and base."""
    return {name: recipe.reference for name, recipe in recipes().items()}


def build() -> Mapping[str, str]:
    """Builds and stores what is not there yet, and returns `references()`. Raises ClusterError."""
    require(IMAGE_TOOLS)
    with locked("images"):
        run_visibly("Building the images", [*NAMESPACES, sys.executable, "-m", "tests.cluster.builder"], cwd=REPOSITORY)
    return references()

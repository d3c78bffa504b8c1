"""What the documents say can be followed: links, resources, commands, targets, and the site builds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tests.cluster.cache import REPOSITORY

from checkrein.api.crds import RESOURCES
from checkrein.api.meta import API_VERSION
from checkrein.cli.main import arguments

PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("tests/*/README.md")])
MODELS = {resource.kind: resource.model for resource in RESOURCES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
KNOWN = {"apiVersion": API_VERSION, "metadata": {"namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1}}


class Block(NamedTuple):
    """A block of code of a page."""

    page: str
    language: str
    text: str


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        for found in FENCE.finditer(page.read_text()):
            if found[1] in languages:
                yield Block(name(page), found[1], found[2])


def anchors(page: Path) -> set[str]:
    """Those that GitHub and mkdocs give to headings."""
    titles = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(there), f"{there.name} has no heading #{anchor}"


def resources() -> Iterator[Any]:
    for block in blocks("yaml"):
        for number, document in enumerate(yaml.safe_load_all(block.text)):
            if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                title = document.get("metadata", {}).get("name", number)
                yield pytest.param(document, id=f"{block.page}: {document['kind']} {title}")


@pytest.mark.parametrize("document", list(resources()))
def test_resources_are_what_the_models_take(document: dict[str, Any]) -> None:
    metadata = KNOWN["metadata"] | document["metadata"]
    MODELS[document["kind"]].model_validate({"metadata": metadata, "spec": document["spec"]})


def commands() -> Iterator[Any]:
    """`checkrein ...` and `kubectl checkrein ...` lines of console blocks, whole."""
    for block in blocks("console", "sh", "bash", ""):
        for line in block.text.replace("\\\n", " ").splitlines():
            said = re.match(r"(?:\$ )?(?:kubectl )?checkrein (?!completion)(.*)", line)
            if said and "..." not in line and "[" not in line.split(" #")[0]:
                yield pytest.param(said[1].split(" #")[0].split(" | ")[0], id=f"{block.page}: {said[1][:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_are_understood(line: str) -> None:
    arguments().parse_args(shlex.split(line))


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:`|^\$ )make ([a-z-]*[a-z])\b(?!-)", page.read_text(), re.MULTILINE)
        assert set(named) <= targets, f"{name(page)} names targets that do not exist"


def test_the_site_builds_and_leaves_no_page_out(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "api" / "index.html").exists()
    listed = (REPOSITORY / "mkdocs.yml").read_text()
    pages = {str(page.relative_to(REPOSITORY / "docs")) for page in REPOSITORY.glob("docs/**/*.md")}
    missing = {page for page in pages if page not in listed and not page.startswith("runbooks/")}
    assert not missing, "pages that the site does not list"

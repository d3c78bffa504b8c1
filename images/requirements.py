"""Prints what an image installs beside the code: the project's dependencies and those of the extras it is given."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
print(*sorted({*project["dependencies"], *(line for name in sys.argv[1:] for line in extras[name])}), sep="\n")

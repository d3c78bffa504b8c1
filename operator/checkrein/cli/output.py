"""What programs read: JSON and YAML."""

from __future__ import annotations

import json
from typing import Any

from checkrein.api import yamltext


def show(value: Any, output: str) -> str:
    """`json` or `yaml`, with a newline at its end."""
    return json.dumps(value, indent=1) + "\n" if output == "json" else yamltext.dump(value)

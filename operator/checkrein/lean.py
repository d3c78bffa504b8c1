"""What libraries import though replicas and operator never use it: 6 MB of memory, and a tenth of a second of a start.

To be imported before them.
"""

from __future__ import annotations

import sys
from types import ModuleType


def spare() -> None:
    """Leave out httpx's command line, which comes with `rich` where that happens to be installed, and MinIO's admin
    client, which comes with two libraries for cryptography."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # "cannot be imported": httpx goes without
    admin = ModuleType("minio.minioadmin")
    admin.MinioAdmin = None  # type: ignore[attr-defined]
    sys.modules.setdefault(admin.__name__, admin)


spare()

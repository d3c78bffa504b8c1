"""A replica as it is, but for patience: a disk or a processor that others keep busy for some seconds is not at fault
here. What fails rather than hangs is told as soon as ever.
"""

from __future__ import annotations

import checkrein.lean  # noqa: F401 - first, as in the replica's own entry point

# isort: split
from checkrein.agent import understudy

PATIENCE = 60.0

understudy.SECONDS = PATIENCE  # before others import it

from checkrein.agent import pilot  # noqa: E402

pilot.DURABLE_SECONDS = PATIENCE

from checkrein.agent.main import main  # noqa: E402

if __name__ == "__main__":
    main()

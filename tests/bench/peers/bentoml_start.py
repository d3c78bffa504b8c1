"""Becomes `bentoml serve`."""

import os
import sys
from pathlib import Path

command = str(Path(sys.executable).with_name("bentoml"))
options = ["--host", "127.0.0.1", "--port", os.environ["BENCH_PORT"], "--working-dir", str(Path(__file__).parent)]
environment = os.environ | {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": os.environ["BENCH_FOLDER"]}
os.execve(command, [command, "serve", "bentoml_service:Policy", *options], environment)

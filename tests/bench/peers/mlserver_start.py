"""Writes MLServer's settings and becomes it. No worker pool: the model is quick, so a second process only costs."""

import json
import os
import sys
from pathlib import Path

port, folder = int(os.environ["BENCH_PORT"]), Path(os.environ["BENCH_FOLDER"])
ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
(folder / "settings.json").write_text(json.dumps(settings))
(folder / "model-settings.json").write_text(
    json.dumps({"name": "policy", "implementation": "mlserver_runtime.Policy", "parameters": {"version": "1"}})
)
environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
command = str(Path(sys.executable).with_name("mlserver"))
os.execve(command, [command, "start", str(folder)], environment)

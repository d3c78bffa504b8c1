"""What a replica is told at start: its task, and where the mounted files and the API server are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from checkrein.api.meta import Model
from checkrein.api.tasks import (
    CREDENTIALS_FILE,
    LOG_DIRECTORY,
    MANAGEMENT_PORT,
    SERVING_PORT,
    TASK_VARIABLE,
    TOKEN_KEYS,
    AgentTask,
)

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Settings(Model):
    """One replica's surroundings. `service_account` holds the files `token` and `ca.crt`."""

    task: AgentTask
    pod: str
    pod_uid: str
    api_server: str
    service_account: Path = Path(SERVICE_ACCOUNT)
    credentials: Path = Path(CREDENTIALS_FILE)
    token_keys: Path = Path(TOKEN_KEYS)
    log: Path = Path(LOG_DIRECTORY)
    host: str = "0.0.0.0"  # noqa: S104 - a Service stands in front
    port: int = Field(default=SERVING_PORT, ge=0, le=65535)
    management_port: int = Field(default=MANAGEMENT_PORT, ge=0, le=65535)
    drain_seconds: float = Field(
        default=2, ge=0, description="Between SIGTERM and closing: other nodes still route to this replica."
    )


def api_server(environ: Mapping[str, str]) -> str:
    """The address that the kubelet gives every container. Raises KeyError outside a pod."""
    host = environ["KUBERNETES_SERVICE_HOST"]
    return f"https://{f'[{host}]' if ':' in host else host}:{environ['KUBERNETES_SERVICE_PORT']}"


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment. Raises KeyError, pydantic.ValidationError."""
    chosen = {
        "pod": environ.get("POD_NAME"),
        "pod_uid": environ.get("POD_UID"),
        "service_account": environ.get("CHECKREIN_SERVICE_ACCOUNT"),
        "credentials": environ.get("CHECKREIN_CREDENTIALS"),
        "token_keys": environ.get("CHECKREIN_TOKEN_KEYS"),
        "log": environ.get("CHECKREIN_LOG"),
        "host": environ.get("CHECKREIN_HOST"),
        "port": environ.get("CHECKREIN_PORT"),
        "management_port": environ.get("CHECKREIN_MANAGEMENT_PORT"),
        "drain_seconds": environ.get("CHECKREIN_DRAIN_SECONDS"),
    }
    task = AgentTask.model_validate_json(environ[TASK_VARIABLE])
    given = {name: value for name, value in chosen.items() if value is not None}
    return Settings.model_validate({"task": task, "api_server": api_server(environ), **given})

"""What an installation decides: read once at start from the file that the chart mounts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from checkrein.api.meta import Image, Model
from checkrein.api.tasks import StoreLocation

SETTINGS_VARIABLE = "CHECKREIN_SETTINGS"
SETTINGS_FILE = "/etc/checkrein/settings.json"
Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class StoreSettings(Model):
    """The S3 service. Credentials come from a Secret of their own."""

    endpoint: str = Field(description="host:port of the S3 service.")
    secure: bool = True
    private_authority: bool = Field(
        default=False, description="`ca.crt` beside the credentials vouches for its certificate; handed to every pod."
    )
    region: str = "us-east-1"
    policies_bucket: str = "checkrein-policies"
    runs_bucket: str = "checkrein-runs"
    decisions_bucket: str = "checkrein-decisions"

    def location(self, bucket: str, *, read_prefix: str = "", write_prefix: str = "") -> StoreLocation:
        """A bucket of it, as those who read and write there are told."""
        return StoreLocation(
            endpoint=self.endpoint,
            secure=self.secure,
            private_authority=self.private_authority,
            region=self.region,
            bucket=bucket,
            read_prefix=read_prefix,
            write_prefix=write_prefix,
        )


class Images(Model):
    """Default images of the pods that the operator creates."""

    trainer: Image
    agent: Image


class Settings(Model):
    """The operator's settings."""

    store: StoreSettings
    images: Images
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = Field(
        default=(), description="Secrets for the registry, by name, in the namespace of each pod that is created."
    )
    account: str = Field(
        default="",
        description="The operator's own (system:serviceaccount:NAMESPACE:NAME): replicas tell evidence to it alone.",
    )
    watch_namespaces: list[Namespace] = Field(
        default_factory=list, description="Where the operator works; empty: in every namespace of the cluster."
    )
    probe_timeout_seconds: int = Field(default=120, ge=5)
    resync_seconds: float = Field(
        default=40, gt=0, description="Between two comparisons of the cache with a list, give or take a quarter."
    )
    progress_seconds: float = Field(default=2, gt=0, description="Between two readings of a trainer's progress.")
    verify_seconds: float = Field(default=300, gt=0, description="Between two verifications of a PolicyVersion.")
    token_key_seconds: float = Field(default=86_400, ge=3600, description="Age at which an agent gets a new token key.")


def load() -> Settings:
    """The settings from the file that CHECKREIN_SETTINGS names. Raises pydantic.ValidationError, OSError."""
    return Settings.model_validate_json(Path(os.environ.get(SETTINGS_VARIABLE, SETTINGS_FILE)).read_bytes())

"""Where a TrainingJob's learning is recorded, beside its own metrics: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.meta import Model
from checkrein.api.rules import rule, validations

TrackerName = Literal["TensorBoard", "MLflow", "WandB"]
MLFLOW_CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
WANDB_CREDENTIALS = ("WANDB_API_KEY",)
# A user and a password in it would be shown to everybody who may read the object.
Url = Annotated[str, StringConstraints(max_length=512, pattern=r"^https?://[^@/\s]+(/[^@\s]*)?$")]
Title = Annotated[str, StringConstraints(max_length=128, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")]


class SecretReference(Model):
    """A Secret of this namespace."""

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    ] = Field(description="Its metadata.name, for example tracker.")


class MLflow(Model):
    """A tracking server of MLflow."""

    uri: Url = Field(description="Where it is, without credentials, for example http://mlflow.ml.svc:5000.")
    experiment: Title = Field(
        default="", description="Experiment that the run is part of, for example cartpole. Default: the namespace."
    )
    secret_ref: SecretReference | None = Field(
        default=None,
        description="Secret with MLFLOW_TRACKING_TOKEN, or with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
        "where the server asks for them. Nothing else of it reaches the pod.",
    )


class WandB(Model):
    """Weights & Biases."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "self.mode != 'Online' || has(self.secretRef)",
                "mode Online needs secretRef: a Secret with the key WANDB_API_KEY",
                "secretRef",
            )
        )
    )
    mode: Literal["Offline", "Online"] = Field(
        default="Offline",
        description="Offline: the run lies in the runs bucket, for `wandb sync`. Online: it is sent while it trains.",
    )
    project: Title = Field(
        default="", description="Project that the run is part of, for example cartpole. Default: the namespace."
    )
    entity: Title = Field(
        default="", description="Team or user whose project it is, for example robots. Default: the key's own."
    )
    base_url: Url | None = Field(
        default=None, description="A server of one's own, for example https://wandb.example. Default: the public one."
    )
    secret_ref: SecretReference | None = Field(
        default=None, description="Secret with the key WANDB_API_KEY. Nothing else of it reaches the pod."
    )


class Tracking(Model):
    """Trackers that follow the training, any of them beside the others. One that is away never holds it up."""

    tensorboard: bool = Field(
        default=False, description="Event files, in the runs bucket beside the checkpoints; for example true."
    )
    mlflow: MLflow | None = None
    wandb: WandB | None = None

    @property
    def names(self) -> tuple[TrackerName, ...]:
        """Those that are asked for."""
        asked: dict[TrackerName, object] = {"TensorBoard": self.tensorboard, "MLflow": self.mlflow, "WandB": self.wandb}
        return tuple(name for name, given in asked.items() if given)

    @property
    def credentials(self) -> dict[str, str]:
        """Variables that a trainer takes from Secrets, where those have them: the Secret's name by the variable's."""
        asked = ((self.mlflow, MLFLOW_CREDENTIALS), (self.wandb, WANDB_CREDENTIALS))
        return {
            variable: tracker.secret_ref.name
            for tracker, variables in asked
            if tracker and tracker.secret_ref
            for variable in variables
        }

"""Networks of every kind as graphs of the agent's contract, written by torch: their answers are torch's own."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from checkrein.api.spaces import Interface, Member, Space

OPSET = 17
CAMERA = Space(type="Box", dtype="uint8", shape=[8, 8, 3], low=["0"], high=["255"])
TWO = Space(type="Discrete", dtype="int64", n=2)
SENSED = Interface(
    observation=Space(
        type="Dict",
        members=[
            Member(name="camera", **CAMERA.model_dump(exclude={"members"})),
            Member(name="gear", type="Discrete", dtype="int64", n=4, start=1),
            Member(name="speed", type="Box", dtype="float32", shape=[2], low=["-1.0"], high=["1.0"]),
        ],
    ),
    action=TWO,
)
SEEN = Interface(observation=CAMERA, action=TWO)


def exported(
    network: nn.Module, inputs: dict[str, Tensor], outputs: list[str], training: torch.onnx.TrainingMode | None = None
) -> bytes:
    """The network's graph, with any number of rows."""
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        arguments: dict[str, Any] = {} if training is None else {"training": training, "do_constant_folding": False}
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            file,  # type: ignore[arg-type]  # annotated for the other exporter
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
            **arguments,
        )
    return file.getvalue()


class Convolutional(nn.Module):
    """A picture as the camera gives it, and two actions."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Action, logits."""
        logits = self.see(observation.float().permute(0, 3, 1, 2) / 255)
        return logits.argmax(dim=1), logits


class Recurrent(nn.Module):
    """An LSTM's two states travel; a Box of one element is steered."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(3, width), nn.Linear(width, 1)

    def forward(self, observation: Tensor, hidden: Tensor, carried: Tensor) -> tuple[Tensor, ...]:
        """Action, mean, log_std, value, the two states."""
        hidden, carried = self.cell(observation, (hidden, carried))
        mean = self.head(hidden)
        return mean.clamp(-2, 2), mean, torch.full_like(mean, -0.5), mean.flatten() * 3, hidden, carried


class Sensing(nn.Module):
    """Camera, gear and speed together; values of two actions."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.rest = Convolutional(), nn.Linear(6, 2)

    def forward(self, camera: Tensor, gear: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
        """Action, q_values."""
        ones = nn.functional.one_hot(gear - 1, 4).float()
        q_values = self.see(camera)[1] + self.rest(torch.cat([ones, speed], dim=1))
        return q_values.argmax(dim=1), q_values


def seen() -> tuple[Convolutional, bytes]:
    """A convolutional network and its graph."""
    network = Convolutional().eval()
    return network, exported(network, {"observation": torch.zeros(2, 8, 8, 3, dtype=torch.uint8)}, ["action", "logits"])


def remembering(width: int = 8) -> tuple[Recurrent, bytes]:
    """A recurrent network and its graph."""
    network = Recurrent(width).eval()
    inputs = {"observation": torch.zeros(2, 3), "state.0": torch.zeros(2, width), "state.1": torch.zeros(2, width)}
    outputs = ["action", "mean", "log_std", "value", "next_state.0", "next_state.1"]
    return network, exported(network, inputs, outputs)


def sensing() -> tuple[Sensing, bytes]:
    """A network of a Dict and its graph."""
    network = Sensing().eval()
    inputs = {
        "observation.camera": torch.zeros(2, 8, 8, 3, dtype=torch.uint8),
        "observation.gear": torch.ones(2, dtype=torch.int64),
        "observation.speed": torch.zeros(2, 2),
    }
    return network, exported(network, inputs, ["action", "q_values"])

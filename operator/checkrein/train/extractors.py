"""From an observation to features: which of the library's policies reads a space, and what a Dict's members become.

Images (uint8, three dimensions, 0 to 255) go through the network of Mnih et al. (2015, doi:10.1038/nature14236) where
they are large enough for its three convolutions; smaller ones, and everything else, are flattened.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from checkrein.api.spaces import ACTION_MASK

LEAST_SIDE = 36
IMAGE_FEATURES = 256  # of each image in a Dict, as in the library's own CombinedExtractor


def policy_of(space: spaces.Space[Any], *, masked: bool = False) -> tuple[str, dict[str, Any]]:
    """What names the library's policy for observations of this space, and what its `policy_kwargs` need for it.

    `masked`: the mask of actions is no feature, it is applied to the scores.
    """
    if isinstance(space, spaces.Dict):
        return "MultiInput", {"features_extractor_class": Unmasked if masked else Members}
    if isinstance(space, spaces.MultiDiscrete):
        return "Mlp", {"features_extractor_class": OneHot}
    return ("Cnn" if is_large_image(space) else "Mlp"), {}


def is_large_image(space: spaces.Space[Any]) -> bool:
    """Whether convolutions leave anything of it. The channels are the least of the three dimensions."""
    return is_image_space(space) and sorted(space.shape or ())[1] >= LEAST_SIDE


def scaled_members(space: spaces.Dict) -> list[str]:
    """Members whose scale running normalisation can find: arrays of numbers that are no images and no mask."""
    return [
        name
        for name, member in space.items()
        if isinstance(member, spaces.Box) and not is_image_space(member) and name != ACTION_MASK
    ]


class OneHot(FlattenExtractor):
    """Of a MultiDiscrete, whose width the library counts in numpy's integers, which an LSTM does not take."""

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space)
        self._features_dim = int(self._features_dim)


class Members(BaseFeaturesExtractor):
    """All members of a Dict side by side.

    The library's own extractor cannot take small images, nor names such as `type` that a torch module has already.
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        widths = [_width(member) for member in observation_space.values()]
        super().__init__(observation_space, sum(widths))
        self._names = list(observation_space)
        self.extractors = nn.ModuleList(_extractor(member) for member in observation_space.values())

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features, [batch, width], of preprocessed observations."""
        features = [extract(observations[name]) for name, extract in zip(self._names, self.extractors, strict=True)]
        return torch.cat(features, dim=1)


class Unmasked(Members):
    """All members but the mask of actions."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(spaces.Dict({n: m for n, m in observation_space.items() if n != ACTION_MASK}))


def _width(space: spaces.Space[Any]) -> int:
    return IMAGE_FEATURES if is_large_image(space) else int(get_flattened_obs_dim(space))


def _extractor(space: spaces.Space[Any]) -> nn.Module:
    return NatureCNN(space, IMAGE_FEATURES) if is_large_image(space) else nn.Flatten()

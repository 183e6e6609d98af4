"""Which network the catalogue builds. Free of torch, so that a command line may read it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from outrider.wire import BoxDistribution

Activation: TypeAlias = Literal["tanh", "relu", "silu", "gelu", "elu"]
EncoderName: TypeAlias = Literal["auto", "mlp", "nature_cnn", "impala_resnet"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleSettings:
    """The network, its distribution and its normalisers."""

    fcnet_hiddens: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers behind the observation's features, each at least 1. Left out where
    the whole observation is one image: there the image encoder's own dense layer is the last one."""
    fcnet_activation: Activation = "tanh"
    """Nonlinearity after each hidden layer."""
    encoder: EncoderName = "auto"
    """How image leaves (uint8, three axes) become features. "mlp" flattens them; "auto" is
    "nature_cnn" from 36 x 36 pixels on and "impala_resnet" below."""
    use_lstm: bool = False
    """Put an LSTM between the hidden layers and the outputs."""
    lstm_cell_size: int = 64
    """Width of the LSTM, at least 1."""
    vf_share_layers: bool = False
    """Whether the value reads the policy's last hidden layer (and LSTM) instead of having its own."""
    free_log_std: bool = True
    """Whether log standard deviations of Box actions are parameters of their own, alike in all
    states; otherwise the network puts them out."""
    initial_log_std: float = 0.0
    """Log standard deviation before the first update, in units in which a bounded action spans -1..1."""
    log_std_clip_param: float = 20.0
    """Largest magnitude of a log standard deviation that the network puts out; above 0."""
    box_distribution: BoxDistribution = "gaussian"
    """Distribution of Box actions: "gaussian", clipped at the bounds, or "squashed_gaussian", bent
    into them by tanh."""
    normalize_observations: bool = False
    """Whether float Box leaves are shifted and scaled by their running mean and deviation."""
    observation_clip: float = 10.0
    """Largest magnitude of a normalised observation, in standard deviations; above 0."""
    normalize_rewards: bool = False
    """Whether rewards are divided by the running deviation of discounted returns before learning."""
    reward_clip: float = 10.0
    """Largest magnitude of a normalised reward; above 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        object.__setattr__(self, "fcnet_hiddens", tuple(self.fcnet_hiddens))
        if any(width < 1 for width in self.fcnet_hiddens):
            raise ValueError(f"fcnet_hiddens={self.fcnet_hiddens!r}: every width must be at least 1")
        if self.lstm_cell_size < 1:
            raise ValueError(f"lstm_cell_size={self.lstm_cell_size!r} must be at least 1")
        for name in ("log_std_clip_param", "observation_clip", "reward_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0")
        if not math.isfinite(self.initial_log_std):
            raise ValueError(f"initial_log_std={self.initial_log_std!r} must be finite")
        for name, allowed in (
            ("fcnet_activation", get_args(Activation)),
            ("encoder", get_args(EncoderName)),
            ("box_distribution", get_args(BoxDistribution)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(allowed)}"
                )

"""What a policy is made of, so that another process can make the same one. Free of torch until `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from outrider.rlmodule.settings import ModuleSettings
from outrider.wire import decode_settings, decode_space, encode_settings, encode_space

if TYPE_CHECKING:
    from outrider.rlmodule.policy import Policy
    from outrider.rlmodule.protocols import NetworkFactory
    from outrider.wire import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyRecipe:
    """Arguments of `build_policy`; equal recipes build equal policies, wherever they are."""

    observation_space: Space
    action_space: Space
    settings: ModuleSettings
    network: NetworkFactory | None = None
    """Makes the user's own network; None builds the catalogue's."""
    seed: int
    critic_space: Space | None = None
    """What a central critic sees besides the observation; None: critics see what their policies see."""

    def __post_init__(self) -> None:
        """Keep of the settings what is the module's own; a subclass may hold more."""
        own = {field.name: getattr(self.settings, field.name) for field in fields(ModuleSettings)}
        object.__setattr__(self, "settings", ModuleSettings(**own))

    def build(self) -> Policy:
        """Make the policy; raises ValueError where spaces, settings and network do not fit."""
        from outrider.rlmodule.building import build_policy

        return build_policy(
            self.observation_space,
            self.action_space,
            self.settings,
            network=self.network,
            seed=self.seed,
            critic_space=self.critic_space,
        )

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values. Raises ValueError for a network of the user's unless `dump` pickles it."""
        message: dict[str, Any] = {
            "observation_space": encode_space(self.observation_space),
            "action_space": encode_space(self.action_space),
            "settings": encode_settings(self.settings),
            "seed": self.seed,
        }
        if self.critic_space is not None:
            message["critic_space"] = encode_space(self.critic_space)
        if self.network is not None:
            if dump is None:
                raise ValueError(f"the network {self.network!r} has no plain form; use one of the catalogue")
            message["network"] = dump(self.network)
        return message

    @staticmethod
    def from_message(message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None) -> PolicyRecipe:
        """Read what `to_message` returned. Raises ValueError for a pickled network unless `load` is given."""
        network, critic_space = message.get("network"), message.get("critic_space")
        if network is not None and load is None:
            raise ValueError(
                "a pickled network came. No pickle is ever read from a network peer; use one of the catalogue"
            )
        return PolicyRecipe(
            observation_space=decode_space(message["observation_space"]),
            action_space=decode_space(message["action_space"]),
            settings=decode_settings(ModuleSettings, message["settings"]),
            network=None if network is None or load is None else load(network),
            seed=message["seed"],
            critic_space=None if critic_space is None else decode_space(critic_space),
        )

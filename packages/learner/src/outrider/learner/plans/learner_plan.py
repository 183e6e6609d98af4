"""What a learner is made of, so that another process can make it. Free of torch until `make_learner`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.learner.plans.sharing import SHARED_ROWS, Sharing
from outrider.rlmodule import PolicyRecipe
from outrider.rlmodule.ignored_settings import told_before
from outrider.wire import decode_settings, encode_settings

if TYPE_CHECKING:
    import torch

    from outrider.learner.learner import Learner
    from outrider.learner.ranks import Ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerPlan:
    """Everything that the ranks of a group have in common."""

    algorithm: str
    """Name by which `outrider.learner.training.algorithm_settings` knows it, such as "ppo"."""
    training: Any
    """Settings of that algorithm: PPOSettings and the like."""
    policy: PolicyRecipe
    settings: LearnerGroupSettings
    seed: int
    """Of everything random in learning; each rank adds its number."""

    @property
    def sharing(self) -> Sharing:
        """What ranks share out."""
        return SHARED_ROWS

    def make_learner(self, ranks: Ranks, device: torch.device) -> Learner:
        """Make the learner of one rank."""
        from outrider.learner.algorithms import make_learner

        with told_before():
            policy = self.policy.build()
        return make_learner(
            self.algorithm, policy, self.training, seed=self.seed + ranks.rank, ranks=ranks, device=device
        )

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values; `dump` pickles a network of the user's (see `PolicyRecipe`)."""
        return {
            "algorithm": self.algorithm,
            "training": encode_settings(self.training, dump=dump),
            "policy": self.policy.to_message(dump),
            "settings": encode_settings(self.settings, dump=dump),
            "seed": self.seed,
        }

    @staticmethod
    def from_message(message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None) -> LearnerPlan:
        """Read what `to_message` returned. Raises ValueError for what this release does not know."""
        from outrider.learner.training.algorithm_settings import settings_class

        return LearnerPlan(
            algorithm=message["algorithm"],
            training=decode_settings(settings_class(message["algorithm"]), message["training"], load=load),
            policy=PolicyRecipe.from_message(message["policy"], load),
            settings=decode_settings(LearnerGroupSettings, message["settings"], load=load),
            seed=message["seed"],
        )

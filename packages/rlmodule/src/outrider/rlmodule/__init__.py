"""Networks, action distributions and policy export of Outrider. Importing a name of torch's imports torch."""

from importlib import import_module
from typing import TYPE_CHECKING

from outrider.rlmodule.paths import CRITIC_PATH
from outrider.rlmodule.recipe import PolicyRecipe
from outrider.rlmodule.settings import ModuleSettings

if TYPE_CHECKING:
    from outrider.rlmodule.building import build_policy
    from outrider.rlmodule.distribution import Distribution
    from outrider.rlmodule.export import (
        PolicyNotExportable,
        export_graph,
        export_stacked_graph,
        export_standalone,
    )
    from outrider.rlmodule.large_pages import in_large_pages
    from outrider.rlmodule.normalizer import (
        Moments,
        ObservationNormalizer,
        RunningNormalizer,
        merge_moments,
        moments,
        stacked_moments,
    )
    from outrider.rlmodule.policy import Policy
    from outrider.rlmodule.protocols import (
        RecurrentRLModule,
        RLModule,
        SequenceRLModule,
        forward_by_steps,
    )
    from outrider.rlmodule.stack import PolicyStack
    from outrider.rlmodule.stack_room import StackRoom
    from outrider.rlmodule.stacked_product import WeightGradient, weight_gradients_left_out
    from outrider.rlmodule.stacked_sequences import StackedSequences, side_by_side

__all__ = [
    "CRITIC_PATH",
    "Distribution",
    "ModuleSettings",
    "Moments",
    "ObservationNormalizer",
    "Policy",
    "PolicyNotExportable",
    "PolicyRecipe",
    "PolicyStack",
    "RLModule",
    "RecurrentRLModule",
    "RunningNormalizer",
    "SequenceRLModule",
    "StackRoom",
    "StackedSequences",
    "WeightGradient",
    "build_policy",
    "export_graph",
    "export_stacked_graph",
    "export_standalone",
    "forward_by_steps",
    "in_large_pages",
    "merge_moments",
    "moments",
    "side_by_side",
    "stacked_moments",
    "weight_gradients_left_out",
]

_HOMES = {
    "Distribution": "distribution",
    "Moments": "normalizer",
    "ObservationNormalizer": "normalizer",
    "Policy": "policy",
    "PolicyNotExportable": "export",
    "PolicyStack": "stack",
    "RLModule": "protocols",
    "RecurrentRLModule": "protocols",
    "RunningNormalizer": "normalizer",
    "SequenceRLModule": "protocols",
    "StackRoom": "stack_room",
    "StackedSequences": "stacked_sequences",
    "WeightGradient": "stacked_product",
    "build_policy": "building",
    "export_graph": "export",
    "export_stacked_graph": "export",
    "export_standalone": "export",
    "forward_by_steps": "protocols",
    "in_large_pages": "large_pages",
    "merge_moments": "normalizer",
    "moments": "normalizer",
    "side_by_side": "stacked_sequences",
    "stacked_moments": "normalizer",
    "weight_gradients_left_out": "stacked_product",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"outrider.rlmodule.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

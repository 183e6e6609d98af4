"""Reads one policy out of a checkpoint, without its environment and without the other policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from outrider.algorithm.saved.checkpoint import CheckpointError, PartlyRead, read_without_arrays
from outrider.algorithm.settings.algorithm_settings import settings_from_json
from outrider.algorithm.settings.multi_agent_settings import PolicySpec
from outrider.algorithm.settings.own_settings import own_settings
from outrider.envrunner.nearest import no_such
from outrider.rlmodule import PolicyRecipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outrider.rlmodule import Policy


def recorded_recipe(recipe: PolicyRecipe) -> dict[str, Any]:
    """Return plain values and arrays, for a checkpoint; a network of the user's stands in the settings."""
    message = recipe.to_message(_left_out)
    return {
        name: np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        for name, value in message.items()
    }


def recorded_policies(tree: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 - a tree of any shape
    """Return what a checkpoint says of its policies, of which learners have to know before they are made.

    None where there is one, without a name.
    """
    if "policies" not in tree:
        return None
    return {**tree["policies"], "frozen": tree["learner"]["frozen"]}


def check_policies_have_names(path: Path | str, recorded: Mapping[str, Any] | None, *, wanted: bool) -> None:
    """Raise CheckpointError for policies by name and settings of one policy, or the other way round."""
    if wanted != (recorded is not None):
        here, there = ("one policy, without a name", "policies by name")[:: 1 if wanted else -1]
        raise CheckpointError(
            f"checkpoint {path} has {here}, and these settings have {there}; use those it was made with"
        )


def chosen_policy(path: Path | str, name: str | None) -> str | None:
    """Return the name of a policy of the checkpoint at `path`: the given one, or that of the only one.

    None is of a run whose one policy has no name. Little is read, and nothing is made. Raises
    CheckpointError for a name that no policy has, and for None where there are several.
    """
    tree = read_without_arrays(path)
    if "policies" not in tree:
        return name  # the one policy of such a run is soon made, and refuses a name itself
    names = [policy["name"] for policy in tree["policies"]["book"]["policies"]]
    if name is None and len(names) > 1:
        raise CheckpointError(
            f"checkpoint {path} has policies by name; say which one, such as --policy {names[0]}"
        )
    if name is not None and name not in names:
        raise CheckpointError(f"checkpoint {path}: {no_such('policy', name, names)}")
    return name or names[0]


def load_policy(path: Path | str, name: str) -> Policy:
    """Return the policy `name` of the checkpoint at `path`, and read little else of it.

    What is read is not compared with the checkpoint's checksum, which is of everything. Raises
    CheckpointError.
    """
    checkpoint = PartlyRead(path)
    tree = checkpoint.tree
    if "policies" not in tree:
        raise CheckpointError(
            f"checkpoint {path} has one policy, without a name; take it from Algorithm.from_checkpoint(path, "
            "to_train=False).policy"
        )
    booked = {policy["name"]: policy for policy in tree["policies"]["book"]["policies"]}
    if name not in booked:
        raise CheckpointError(f"checkpoint {path}: {no_such('policy', name, booked)}")
    try:
        policy = _recipe(checkpoint, booked[name]).build()
        policy.load_state_dict(_tensors(checkpoint, booked[name]))
    except CheckpointError:
        raise
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"policy {name!r} of checkpoint {path} cannot be read: {error}; read it with the release and the "
            "modules that it was made with"
        ) from error
    return policy


def _recipe(checkpoint: PartlyRead, booked: Mapping[str, Any]) -> PolicyRecipe:
    tree = checkpoint.tree
    recorded = checkpoint.part(tree["policies"]["recipes"][booked["planned"]])
    message = {
        name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in recorded.items()
    }
    return PolicyRecipe.from_message(message, lambda _: _network(tree, booked["planned"]))


def _network(tree: Any, planned: int) -> Any:  # noqa: ANN401 - a network of the user's
    """Return what makes the network of the policies that were planned alike."""
    settings = settings_from_json(tree["algorithm"], tree["settings"])
    specs = settings.multi_agent.policies
    name = tree["policies"]["planned_for"][planned]
    spec = specs.get(name) if isinstance(specs, dict) else None
    return own_settings(name, "rl_module", settings.rl_module, (spec or PolicySpec()).rl_module).network


def _tensors(checkpoint: PartlyRead, booked: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of one policy, whether its stack is stored as one or as a policy alone."""
    stack = checkpoint.tree["learner"]["stacks"][booked["stack"]]
    tensors = checkpoint.part(stack["learner"]["module"])
    if "numbers" in stack["learner"]:
        place = checkpoint.part(stack["numbers"]).tolist().index(booked["number"])
        tensors = {name: tensor[place] for name, tensor in tensors.items()}
    return {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}


def _left_out(_: object) -> bytes:
    return b""

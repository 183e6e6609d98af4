"""The state of a policy in a stack as that of a learner that it has for itself, and back. Free of torch.

    in a stack                            of its own
    counters/num_steps                    optimizer/count
    first_moments, second_moments         optimizer/...
    counters/num_skipped_in_a_row         skipped_steps/consecutive
    counters/kl_coeff                     kl_coeff, where the algorithm has one
    generator, where it was learned so    generator
    module, target, reward_scale          likewise

A stack's orders come of a key, and of a generator's state where ranks share rows: what goes from one to the
other begins its orders anew, and all else goes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outrider.learner.learner import StateTree

GENERATOR = "generator"


def to_own(state: StateTree, new: StateTree) -> StateTree:
    """Return what a policy's own learner goes on from; `new` is the state of that learner now."""
    counters = state["counters"]
    first_bad = new["skipped_steps"]["first_bad"] if counters["num_skipped_in_a_row"] else ""
    own: StateTree = {
        "fingerprint": state["fingerprint"],
        "module": state["module"],
        "optimizer": {
            "count": int(counters["num_steps"]),
            "first_moments": state["first_moments"],
            "second_moments": state["second_moments"],
        },
        "reward_scale": state["reward_scale"],
        "skipped_steps": {"consecutive": int(counters["num_skipped_in_a_row"]), "first_bad": first_bad},
        GENERATOR: state.get(GENERATOR, new[GENERATOR]),
        "num_env_steps": int(counters["num_env_steps"]),
        "num_updates": int(counters["num_updates"]),
        "version": int(counters["version"]),
    }
    if "kl_coeff" in new:
        own["kl_coeff"] = float(counters["kl_coeff"])
    return own | ({"target": state["target"]} if "target" in new else {})


def to_stacked(own: StateTree, *, version: int, shuffle_key: Any, is_frozen: bool) -> StateTree:  # noqa: ANN401
    """Return what a policy in a stack goes on from. What is given besides, its own learner does not know."""
    counters = {
        "num_steps": np.array(own["optimizer"]["count"], np.int64),
        "num_env_steps": np.array(own["num_env_steps"], np.int64),
        "num_updates": np.array(own["num_updates"], np.int64),
        "version": np.array(version, np.int64),
        "shuffle_key": np.array(shuffle_key, np.uint64),
        "kl_coeff": np.array(own.get("kl_coeff", 0.0), np.float64),
        "num_skipped_in_a_row": np.array(own["skipped_steps"]["consecutive"], np.int64),
        "is_frozen": np.array(is_frozen, np.bool_),
    }
    parts: StateTree = {name: own[name] for name in ("module", "target") if name in own}
    return {
        "fingerprint": own["fingerprint"],
        **parts,
        "first_moments": own["optimizer"]["first_moments"],
        "second_moments": own["optimizer"]["second_moments"],
        "counters": counters,
        GENERATOR: own[GENERATOR],
        "reward_scale": own["reward_scale"],
    }

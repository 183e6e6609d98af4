"""What draws the actions of a stack goes on from a checkpoint as it would have without."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.slot_groups import SlotGroups
from outrider.envrunner.policies.acting_rows import ActingLayouts
from outrider.envrunner.policies.stack_actor import StackActor
from outrider.envrunner.sampling.action_arrays import ActionArrays
from outrider.testing.agents_by_lot import AGENTS, GROUPS, Echo, Lottery

LOTTERY = Lottery(num_envs=20)
STEP = LOTTERY.reset([0] * 20)
EVERYBODY = np.ones(20 * len(AGENTS), np.bool_)
LAYOUTS = ActingLayouts(SlotGroups(GROUPS, 20, len(AGENTS)))
LAYOUTS.assign(np.tile(np.array([0, 2, 1], np.int32), 20), np.tile([0, 0, 1], 20))


def red() -> StackActor:
    return StackActor(
        Echo("red", GROUPS[0]),
        {0: GROUPS[0]},
        num_slots=len(EVERYBODY),
        drawn_by=(7, 0),
        incarnation=0,
    )


def act(actor: StackActor, number: int) -> NDArray[Any]:
    actions = ActionArrays(LOTTERY).flat
    actor.act(number, LAYOUTS.rows(EVERYBODY)[0], STEP, EVERYBODY, actions, explore=True)
    return actions[0][""]


def test_noise_that_a_fragment_left_over_is_not_drawn_from_in_the_next() -> None:
    before, after = red(), red()
    before.begin(5)
    act(before, 0)
    after.sampler.set_state(before.sampler.get_state())
    for actor in (before, after):
        actor.begin(5)
    # Nobody of the stack acts in the first step.
    assert act(before, 1).tolist() == act(after, 1).tolist()

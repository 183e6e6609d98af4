"""What a learner service makes of several policies that a stranger asks for: names, numbers and how many.

Free of torch.
"""

from __future__ import annotations

from collections.abc import Collection

from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan

MAX_POLICIES = 2**17
"""Of a run at one time. Each takes 12 bytes for each of its numbers."""
MAX_NUMBER = 10**6
"""Tables have a place for each number that ever was."""
_MAX_NAME = 200


def check_plan(plan: MultiAgentPlan) -> None:
    """Raise ValueError for policies that cannot be there together."""
    names = [stack.name for stack in plan.stacks]
    if len(set(names)) < len(names):
        raise ValueError(f"two stacks have one name among {names[:8]!r}; give each its own")
    numbers = [number for stack in plan.stacks for number in stack.seeds]
    if not numbers:
        raise ValueError("there is no policy to train; send a plan with one at least")
    check_count(len(numbers))
    known = set(numbers)
    if len(known) < len(numbers):
        raise ValueError("a policy number is in two stacks; give every policy a number of its own")
    if strange := sorted(plan.frozen - known):
        raise ValueError(f"policy {strange[0]} is to be frozen and in no stack; freeze those that there are")


def check_count(num_policies: int) -> None:
    """Raise ValueError for more policies than a service trains for one run."""
    if num_policies > MAX_POLICIES:
        raise ValueError(
            f"there would be {num_policies:,} policies, and a learner service trains up to {MAX_POLICIES:,} "
            "of a run; train fewer, or remove some"
        )


def check_stack(stack: StackPlan) -> None:
    """Raise ValueError for names and numbers that no run has."""
    name = stack.name
    if type(name) is not str or not name or "/" in name or len(name) > _MAX_NAME:
        raise ValueError(
            f"a stack is called {str(name)[:_MAX_NAME]!r}; give a text of 1 to {_MAX_NAME} characters "
            "without /"
        )
    check_numbers(stack.seeds)
    for number, seed in stack.seeds.items():
        if type(seed) is not int or not 0 <= seed < 2**64:
            raise ValueError(
                f"policy {number} has the seed {seed!r}; give a whole number from 0 to 2**64 - 1"
            )
    if strange := [number for number in stack.overrides if number not in stack.seeds]:
        raise ValueError(f"there are settings of policy {strange[0]!r}, which is not in stack {name!r}")


def check_numbers(numbers: Collection[object]) -> None:
    """Raise ValueError for what is no number of a policy."""
    for number in numbers:
        if type(number) is not int or not 0 <= number < MAX_NUMBER:
            raise ValueError(
                f"a policy has the number {number!r}; numbers are whole, from 0 to {MAX_NUMBER - 1:,}"
            )

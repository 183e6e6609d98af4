"""Puts the parts of an algorithm together from its settings: see where one policy or several are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outrider.algorithm.assembly.algorithm_parts import AlgorithmParts
    from outrider.algorithm.settings.run_settings import RunSettings


def assemble(
    settings: RunSettings, *, run_name: str | None = None, recorded: Mapping[str, Any] | None = None
) -> AlgorithmParts:
    """Make what is ready to train. Raises ValueError in one sentence, and leaves nothing.

    `recorded` is what a checkpoint says of the policies that there were, where there were several.
    """
    if settings.multi_agent.is_on:
        from outrider.algorithm.assembly.multi_agent_assembly import assemble_several

        return assemble_several(settings, run_name=run_name, recorded=recorded)
    from outrider.algorithm.assembly.one_policy_assembly import assemble_one

    return assemble_one(settings, run_name=run_name)


def assemble_to_evaluate(
    settings: RunSettings, *, recorded: Mapping[str, Any] | None = None
) -> AlgorithmParts:
    """Make what has policies and environments to evaluate them in, and nothing else."""
    if settings.multi_agent.is_on:
        from outrider.algorithm.assembly.multi_agent_assembly import assemble_several_to_evaluate

        return assemble_several_to_evaluate(settings, recorded=recorded)
    from outrider.algorithm.assembly.one_policy_assembly import assemble_one_to_evaluate

    return assemble_one_to_evaluate(settings)

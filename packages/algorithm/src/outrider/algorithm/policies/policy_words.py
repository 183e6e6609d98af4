"""What several policies got, in words short enough for a line, whether there are two or ten thousand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from outrider.algorithm.figure import figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NUM_NAMED = 4
"""Policies that a line names one by one."""
NAME_WIDTH = 16
RETURN = "/episode_return_mean"


def spread_words(result: Mapping[str, Any]) -> str:
    """Return what each of a few policies got, or from where to where most lie; nothing where there is one."""
    number = result.get("num_policies", 1)
    if number < 2 or not _has_ended(result):
        return ""
    if number <= NUM_NAMED:
        return f"policies {policies_words(result)}"
    return f"80 % of policies {figure(result['policy_return_p10'])} to {figure(result['policy_return_p90'])}"


def sum_word(result: Mapping[str, Any]) -> str:
    """Return what a return of all agents together is called; nothing where there is one agent."""
    return " in sum" if "num_policies" in result else ""


def sum_of_agents(result: Mapping[str, Any]) -> str:
    """Return the same where there is more room."""
    return " (sum over agents)" if "num_policies" in result else ""


def policies_words(result: Mapping[str, Any]) -> str:
    """Return what each policy got, or where there are many, how their returns spread."""
    number = result.get("num_policies", 0)
    if not _has_ended(result):
        return ""
    if number <= NUM_NAMED:
        named = (
            f"{_short(name)}: {'-' if math.isnan(mean) else figure(mean)}" for name, mean in _means(result)
        )
        return "  ".join(named)
    low, middle, high = (figure(result[f"policy_return_p{p}"]) for p in (10, 50, 90))
    return f"{number:,}: a tenth below {low}, half below {middle}, nine tenths below {high}"


def policy_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each policy of an evaluation that has metrics of its own, and one for all others."""
    means = dict(_means(result))
    width = max((len(_short(name)) for name in means), default=0)
    for name, mean in means.items():
        number = result[f"policies/{name}/num_episodes"]
        episodes = "episode" if number == 1 else "episodes"
        got = f"return {figure(mean)} over {number} {episodes}" if number else "played in no episode"
        yield f"policy    {_short(name):<{width}}  {got}\n"
    if len(means) < result.get("num_policies", 0) and (words := policies_words(result)):
        yield f"policies  {words}\n"


def _has_ended(result: Mapping[str, Any]) -> bool:
    return not math.isnan(result.get("policy_return_p50", math.nan))


def _means(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in result.items():
        if key.startswith("policies/") and key.endswith(RETURN):
            yield key.removeprefix("policies/").removesuffix(RETURN), value


def _short(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 3]}..."

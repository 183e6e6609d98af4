"""What the live view says of the stages of a run: who works, who waits, what was lost, which dial to turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from outrider.algorithm.loops.farm_counts import farm_words
from outrider.algorithm.loops.shares import mean_share
from outrider.algorithm.views.bars import Part, bar, curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Result = Mapping[str, Any]

ENVIRONMENT, POLICY, LEARNER, REST = "cyan", "green", "magenta", "bright_black"
LOST = {
    "num_runner_restarts": "runners",
    "num_env_restarts": "environments",
    "num_lost_rows": "rows",
    "num_stale_rows": "stale rows",
    "num_late_fragments": "late fragments",
    "num_learner_restarts": "learners",
    "num_lost_updates": "updates",
}
"""Counts that are shown once they are not 0."""
HISTOGRAM_WIDTH = 16


def turns(results: Sequence[Result], width: int) -> Text:
    """Draw one bar of a run in one process, where sampling and learning take turns."""
    colours = {"environment": ENVIRONMENT, "policy": POLICY, "learner": LEARNER, "rest": REST}
    seconds = {place: sum(result[f"{place}_s"] for result in results) for place in colours}
    total_s = sum(seconds.values()) or 1.0
    return bar([Part(place, seconds[place] / total_s, colour) for place, colour in colours.items()], width)


def runner_lane(results: Sequence[Result], width: int) -> Text:
    """Draw what runners did, mean over all of them."""
    total_s = sum(result["iteration_s"] for result in results)
    working = mean_share(results, "runner_work_share")
    environment, policy = (
        min(1.0, sum(result[place] for result in results) / total_s)
        for place in ("environment_s", "policy_s")
    )
    return bar(
        [
            Part("environment", environment, ENVIRONMENT),
            Part("policy", policy, POLICY, "▓"),
            Part("rest", max(0.0, working - environment - policy), REST, "▒"),
            Part("waiting", 1.0 - working, REST, "░"),
        ],
        width,
    )


def learner_lane(results: Sequence[Result], width: int) -> Text:
    """Draw what learners did, mean over all of them."""
    working, waiting = mean_share(results, "learner_work_share"), mean_share(results, "learner_wait_share")
    return bar(
        [
            Part("learning", working, LEARNER),
            Part("rest", max(0.0, 1.0 - working - waiting), REST, "▒"),
            Part("waiting", waiting, REST, "░"),
        ],
        width,
    )


def queue_line(results: Sequence[Result]) -> Text | None:
    """Say how many fragments wait for the learner, and how old they are when it takes them."""
    latest = [result for result in results if "staleness_histogram" in result]
    if not latest:
        return None
    counts = [0] * max(len(result["staleness_histogram"]) for result in latest)
    for result in latest:
        for age, number in enumerate(result["staleness_histogram"]):
            counts[age] += number
    mean = sum(age * number for age, number in enumerate(counts)) / (sum(counts) or 1)
    depth = sum(result["queue_depth"] for result in latest) / len(latest)
    text = Text(f"{depth:.1f} fragments wait  staleness ")
    text.append(curve(counts, min(len(counts), HISTOGRAM_WIDTH)), style="yellow")
    text.append(f" 0 to {len(counts) - 1}, mean {mean:.1f} updates")
    return text


def lost_line(result: Result) -> Text | None:
    """Say what was lost since the run began; None where nothing was."""
    words = [f"{result[name]:,} {what}" for name, what in LOST.items() if result.get(name)]
    return Text(", ".join(words), style="red") if words else None


def farm_line(result: Result) -> Text | None:
    """Say who came from farms and went; None where no farm may connect."""
    words = farm_words(result)
    if not words:
        return None
    return Text(", ").join(Text(each, style="red" if is_wrong else "") for each, is_wrong in words)

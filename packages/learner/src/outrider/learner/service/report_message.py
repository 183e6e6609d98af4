"""What learners did, as plain values: what is attached to a `LearnReport`. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from outrider.learner.groups.group import LearnerGroupStatistics, UpdateReport
from outrider.transport import WeightsReference

_COUNTS = (
    "num_updates",
    "num_rows",
    "num_fragments",
    "num_stale_rows",
    "num_lost_updates",
    "num_restarts",
    "num_lost_rows",
)
_MEASURED = ("work_s", "wait_s", "queue_depth")


def report_message(report: UpdateReport) -> dict[str, Any]:
    """Return a report without its weights."""
    message: dict[str, Any] = {name: getattr(report, name) for name in (*_COUNTS, *_MEASURED)}
    message["metrics"] = dict(report.metrics)
    message["staleness"] = {str(age): number for age, number in report.staleness.items()}
    return message


def read_report(message: Mapping[str, Any], weights: WeightsReference) -> UpdateReport:
    """Read what `report_message` returned; what another release left out is 0."""
    counts = {name: int(message.get(name, 0)) for name in _COUNTS}
    measured = {name: float(message.get(name, 0.0)) for name in _MEASURED}
    staleness = {int(age): int(number) for age, number in message.get("staleness", {}).items()}
    metrics = {name: float(value) for name, value in message.get("metrics", {}).items()}
    return UpdateReport(weights=weights, metrics=metrics, staleness=staleness, **counts, **measured)  # type: ignore[arg-type]


def with_losses(
    report: UpdateReport, now: LearnerGroupStatistics, before: LearnerGroupStatistics
) -> UpdateReport:
    """Return the report with what else was lost between the two counts."""
    return replace(
        report,
        num_lost_updates=report.num_lost_updates + now.num_lost_updates - before.num_lost_updates,
        num_restarts=report.num_restarts + now.num_restarts - before.num_restarts,
        num_lost_rows=report.num_lost_rows + now.num_lost_rows - before.num_lost_rows,
    )

"""How a learner service prints what it does: lines for people, or one JSON object to a line."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from datetime import UTC, datetime


def print_logs(*, as_json: bool, debug: bool) -> None:
    """Let what is logged by Outrider, and what is warned of, go to standard output from now on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("outrider-learner: %(message)s"))
    logger = logging.getLogger("outrider")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False
    warnings.showwarning = lambda message, *_, **__: logger.warning("%s", message)


class _JsonLines(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)

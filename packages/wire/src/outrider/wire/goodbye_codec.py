"""Goodbyes and terms to and from their messages, and sentences for people."""

from __future__ import annotations

from outrider.wire.limits import Limits
from outrider.wire.session import Goodbye, GoodbyeReason, Terms
from outrider.wire.v1 import session_pb2

_REASONS: dict[session_pb2.Goodbye.Reason, GoodbyeReason] = {
    session_pb2.Goodbye.REASON_DONE: GoodbyeReason.DONE,
    session_pb2.Goodbye.REASON_LATER: GoodbyeReason.LATER,
    session_pb2.Goodbye.REASON_MISBEHAVED: GoodbyeReason.MISBEHAVED,
    session_pb2.Goodbye.REASON_REFUSED: GoodbyeReason.REFUSED,
    session_pb2.Goodbye.REASON_FAILED: GoodbyeReason.FAILED,
}
_REASON_NUMBERS = {reason: number for number, reason in _REASONS.items()}
_MAX_MS = 2**32 - 1
_MAX_WRITTEN_CHARACTERS = 2000


def write_goodbye(message: session_pb2.Goodbye, goodbye: Goodbye) -> None:
    """Fill a message."""
    message.reason = _REASON_NUMBERS[goodbye.reason]
    message.sentence = write_sentence(goodbye.sentence)


def read_goodbye(message: session_pb2.Goodbye, limits: Limits) -> Goodbye:
    """Return what a message says. A reason that is not known here counts as DONE."""
    reason = _REASONS.get(message.reason, GoodbyeReason.DONE)
    return Goodbye(reason=reason, sentence=read_sentence(message.sentence, limits))


def write_sentence(text: str) -> str:
    """Return a text for people as it may be sent: of 2,000 characters at most, and of valid ones."""
    if len(text) > _MAX_WRITTEN_CHARACTERS:
        text = f"{text[: _MAX_WRITTEN_CHARACTERS - 4]} ..."
    return text.encode("utf-8", "replace").decode()


def read_sentence(text: str, limits: Limits) -> str:
    """Return a text that came, fit to be logged: in one line, without control characters."""
    limits.check("max_text_characters", len(text))
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def write_terms(message: session_pb2.Terms, terms: Terms) -> None:
    """Fill a message. Raises ValueError for terms that nobody can keep to."""
    _check_terms(terms)
    message.heartbeat_interval_ms = _milliseconds(terms.heartbeat_interval_s)
    message.silence_timeout_ms = _milliseconds(terms.silence_timeout_s)
    message.session_timeout_ms = _milliseconds(terms.session_timeout_s)


def read_terms(message: session_pb2.Terms) -> Terms:
    """Return what a message says, once it is known that it can be kept to."""
    terms = Terms(
        heartbeat_interval_s=message.heartbeat_interval_ms / 1000,
        silence_timeout_s=message.silence_timeout_ms / 1000,
        session_timeout_s=message.session_timeout_ms / 1000,
    )
    _check_terms(terms)
    return terms


def _check_terms(terms: Terms) -> None:
    interval, silence = terms.heartbeat_interval_s, terms.silence_timeout_s
    if not 1 <= _milliseconds(interval) < _milliseconds(silence):
        raise ValueError(
            f"a heartbeat every {interval:g} s and {silence:g} s of silence; "
            "the interval is at least 1 ms and the silence is longer"
        )


def _milliseconds(seconds: float) -> int:
    if not 0 <= seconds <= _MAX_MS / 1000:
        raise ValueError(f"{seconds} s in the terms of a stream; it is 0 to {_MAX_MS / 1000:g}")
    return round(seconds * 1000)

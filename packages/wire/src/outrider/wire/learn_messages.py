"""What an algorithm process and learners say on `LearnerService.Learn`, to and from its messages."""

from __future__ import annotations

from outrider.wire import session
from outrider.wire.goodbye_codec import read_terms, write_terms
from outrider.wire.handshake import Hello
from outrider.wire.handshake_codec import decode_hello, decode_welcome, encode_hello, encode_welcome
from outrider.wire.limits import Limits
from outrider.wire.v1 import handshake_pb2, learner_service_pb2


def write_hello(message: handshake_pb2.Hello, hello: Hello) -> None:
    """Fill a message."""
    message.MergeFromString(encode_hello(hello))


def read_hello(message: handshake_pb2.Hello, limits: Limits) -> Hello:
    """Return what a message says; of another major version only protocol and component."""
    return decode_hello(message.SerializeToString(), limits)


def write_welcome(message: learner_service_pb2.LearnWelcome, welcome: session.LearnWelcome) -> None:
    """Fill a message."""
    message.welcome.MergeFromString(encode_welcome(welcome.welcome))
    if welcome.welcome.refusal is not None:
        return
    if welcome.terms is None:
        raise ValueError("a welcome without terms; both sides keep to some")
    write_terms(message.terms, welcome.terms)


def read_welcome(message: learner_service_pb2.LearnWelcome, limits: Limits) -> session.LearnWelcome:
    """Return what a message says; of a refusal nothing else."""
    welcome = decode_welcome(message.welcome.SerializeToString(), limits)
    refused = welcome.refusal is not None
    return session.LearnWelcome(welcome=welcome, terms=None if refused else read_terms(message.terms))


def write_start(message: learner_service_pb2.LearnStart, start: session.LearnStart) -> None:
    """Fill a message."""
    message.asynchronous = start.asynchronous


def read_start(message: learner_service_pb2.LearnStart, _: Limits) -> session.LearnStart:
    """Return what a message says."""
    return session.LearnStart(message.asynchronous)

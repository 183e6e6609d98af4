"""Fragments to and from frames."""

from __future__ import annotations

from outrider.wire.compression import Compression
from outrider.wire.episode_statistics_codec import read_episode_statistics, write_episode_statistics
from outrider.wire.fragment import Columns, Fragment, Streams
from outrider.wire.fragment_checks import check_fragment
from outrider.wire.frame import Bytes, Frame, read_frame
from outrider.wire.limits import Limits
from outrider.wire.sampling_statistics_codec import read_sampling_statistics, write_sampling_statistics
from outrider.wire.tensor import BodyReader, BodyWriter
from outrider.wire.v1 import fragment_pb2
from outrider.wire.wire_error import reading

_ROW_FIELDS = ("rewards", "terminated", "truncated", "next_rows", "action_log_probs", "policy_version")
_STREAM_FIELDS = ("lengths", "policy", "environment", "agent")


def encode_fragment(fragment: Fragment, *, compression: Compression = "none") -> Frame:
    """Describe a fragment; the frame's buffers are the fragment's own arrays where those are contiguous.

    With `compression`, arrays of whole numbers and bools from 4 KiB on are packed where that saves a
    tenth; the receiver must have named it in its capabilities. Numbers with a fraction hardly shrink
    and stay as they are.
    The caller must not change the arrays while the frame is in use. Raises ValueError for a fragment
    that breaks a rule, which no reader would accept, and for a compression that is not installed.
    """
    check_fragment(fragment)
    header = fragment_pb2.FragmentHeader()
    body = BodyWriter(compression)
    for name in _STREAM_FIELDS:
        body.add(getattr(header.streams, name), getattr(fragment.streams, name))
    body.add_named(header.streams.state, fragment.streams.state)
    body.add_named(header.observations, fragment.observations)
    body.add_named(header.actions, fragment.actions)
    body.add_named(header.next_observations, fragment.next_observations)
    for name in _ROW_FIELDS:
        body.add(getattr(header, name), getattr(fragment, name))
    if fragment.action_parameters is not None:
        body.add(header.action_parameters, fragment.action_parameters)
    if len(fragment.episodes.lengths):
        write_episode_statistics(header.episodes, fragment.episodes)
    write_sampling_statistics(header.statistics, fragment.statistics)
    return body.frame(header)


def decode_fragment(message: Bytes, limits: Limits = Limits()) -> Fragment:  # noqa: B008  (frozen)
    """Read a fragment whose arrays are read-only views of `message`, or unpacked. Raises WireError.

    The caller must not write to `message` while the fragment is in use. Unless this raises, the
    fragment keeps every rule of `check_fragment`.
    """
    return decode_fragment_frame(read_frame(message, limits), limits)


def decode_fragment_frame(frame: Frame, limits: Limits = Limits()) -> Fragment:  # noqa: B008  (frozen)
    """Read a fragment whose arrays travelled beside its header. Otherwise as `decode_fragment`."""
    with reading("fragment"):
        body = BodyReader(frame, limits)
        fragment = _read(fragment_pb2.FragmentHeader.FromString(frame.header), body, limits)
        check_fragment(fragment)
        return fragment


def _read(header: fragment_pb2.FragmentHeader, body: BodyReader, limits: Limits) -> Fragment:
    rows = {name: body.read(getattr(header, name), name) for name in _ROW_FIELDS}
    limits.check("max_rows", rows["rewards"].size)
    streams = _read_streams(header.streams, body, limits)
    parameters = header.action_parameters if header.HasField("action_parameters") else None
    columns: dict[str, Columns] = {
        "observations": body.read_named(header.observations, "observations"),
        "actions": body.read_named(header.actions, "actions"),
        "next_observations": body.read_named(header.next_observations, "next_observations"),
    }
    return Fragment(
        streams=streams,
        **columns,  # type: ignore[arg-type]
        **rows,  # type: ignore[arg-type]
        action_parameters=None if parameters is None else body.read(parameters, "action_parameters"),
        episodes=read_episode_statistics(header.episodes, limits),
        statistics=read_sampling_statistics(header.statistics),
    )


def _read_streams(header: fragment_pb2.Streams, body: BodyReader, limits: Limits) -> Streams:
    found = {name: body.read(getattr(header, name), f"streams.{name}") for name in _STREAM_FIELDS}
    limits.check("max_streams", found["lengths"].size)
    return Streams(**found, state=body.read_named(header.state, "state"))

"""Fragments to and from frames."""

from __future__ import annotations

from collections.abc import Sequence

from outrider.wire.compression import Compression
from outrider.wire.episode_statistics_codec import read_episode_statistics, write_episode_statistics
from outrider.wire.fragment import Columns, Fragment, Streams, all_parts
from outrider.wire.fragment_checks import check_fragment
from outrider.wire.frame import Bytes, Frame, read_frame
from outrider.wire.limits import Limits
from outrider.wire.sampling_statistics_codec import read_sampling_statistics, write_sampling_statistics
from outrider.wire.tensor import BodyReader, BodyWriter
from outrider.wire.v1 import fragment_pb2
from outrider.wire.wire_error import WireError, reading

_ROW_FIELDS = ("rewards", "terminated", "truncated", "next_rows", "action_log_probs", "policy_version")
_OPTIONAL_FIELDS = ("action_parameters", "critic_rows", "next_critic_rows")
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
    _write(header, fragment, body)
    for other in fragment.others:
        _write(header.others.add(), other, body)
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
        header = fragment_pb2.FragmentHeader.FromString(frame.header)
        others = _read_others(header.others, body, limits) if header.others else ()
        fragment = _read(header, body, limits, others=others)
        check_fragment(fragment)
        if others:
            _check_totals(fragment, limits)
        return fragment


def _write(header: fragment_pb2.FragmentHeader, fragment: Fragment, body: BodyWriter) -> None:
    for name in _STREAM_FIELDS:
        body.add(getattr(header.streams, name), getattr(fragment.streams, name))
    body.add_named(header.streams.state, fragment.streams.state)
    body.add_named(header.observations, fragment.observations)
    body.add_named(header.actions, fragment.actions)
    body.add_named(header.next_observations, fragment.next_observations)
    for name in _ROW_FIELDS:
        body.add(getattr(header, name), getattr(fragment, name))
    body.add_named(header.critic_states, fragment.critic_states)
    for name in _OPTIONAL_FIELDS:
        array = getattr(fragment, name)
        if array is not None:
            body.add(getattr(header, name), array)
    if len(fragment.episodes.lengths) or fragment.episodes.agents is not None:
        write_episode_statistics(header.episodes, fragment.episodes)


def _read_others(
    headers: Sequence[fragment_pb2.FragmentHeader], body: BodyReader, limits: Limits
) -> tuple[Fragment, ...]:
    limits.check("max_stacks", 1 + len(headers))
    if any(header.others for header in headers):
        raise WireError("one of its others has others itself; give all of them to the outermost fragment")
    return tuple([_read(header, body, limits, others=()) for header in headers])


def _read(
    header: fragment_pb2.FragmentHeader, body: BodyReader, limits: Limits, *, others: tuple[Fragment, ...]
) -> Fragment:
    rows = {name: body.read(getattr(header, name), name) for name in _ROW_FIELDS}
    limits.check("max_rows", rows["rewards"].size)
    streams = _read_streams(header.streams, body, limits)
    optional = {
        name: body.read(getattr(header, name), name) if header.HasField(name) else None
        for name in _OPTIONAL_FIELDS
    }
    columns: dict[str, Columns] = {
        "observations": body.read_named(header.observations, "observations"),
        "actions": body.read_named(header.actions, "actions"),
        "next_observations": body.read_named(header.next_observations, "next_observations"),
        "critic_states": body.read_named(header.critic_states, "critic_states"),
    }
    return Fragment(
        streams=streams,
        **columns,  # type: ignore[arg-type]
        **rows,  # type: ignore[arg-type]
        **optional,  # type: ignore[arg-type]
        episodes=read_episode_statistics(header.episodes, limits),
        statistics=read_sampling_statistics(header.statistics),
        others=others,
    )


def _check_totals(fragment: Fragment, limits: Limits) -> None:
    parts = all_parts(fragment)
    limits.check("max_rows", sum(part.num_rows for part in parts))
    limits.check("max_streams", sum(len(part.streams.lengths) for part in parts))


def _read_streams(header: fragment_pb2.Streams, body: BodyReader, limits: Limits) -> Streams:
    found = {name: body.read(getattr(header, name), f"streams.{name}") for name in _STREAM_FIELDS}
    limits.check("max_streams", found["lengths"].size)
    return Streams(**found, state=body.read_named(header.state, "state"))

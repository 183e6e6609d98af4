"""How much a reader accepts from a peer."""

from __future__ import annotations

from dataclasses import dataclass, fields

from outrider.wire.wire_error import WireError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds that a received message must keep. They are checked before memory is reserved.

    Arrays are views of the bytes that have arrived, whatever sizes they claim; what reading reserves is
    the parsed header, at worst about 60 times `max_header_bytes` (60 MB, measured), and what compressed
    arrays unpack to.
    """

    max_message_bytes: int = 256 * 2**20
    """Size of a whole message, and of any array that it describes."""
    max_header_bytes: int = 2**20
    """Size of everything but the arrays; also of a handshake and of a space that travels alone."""
    max_decompressed_bytes: int = 256 * 2**20
    """Size of all arrays of one message together that came compressed, once they are unpacked."""
    max_stream_message_bytes: int = 4 * 2**20
    """Size of a message of a stream that carries arrays within it (`Step`, `Action`); others are bounded by
    `max_header_bytes`, and a chunk by 1 MiB."""
    max_text_characters: int = 4096
    """Length of a name, a session, or a sentence for people."""
    max_names: int = 256
    """Capabilities, and versions of distributions, that a peer introduces itself with."""
    max_spaces: int = 4096
    """Spaces within one another all together, counting each."""
    max_arrays: int = 4096
    """Arrays in one message: columns of a fragment, tensors of a module."""
    max_dimensions: int = 16
    """Axes of an array or a space."""
    max_rows: int = 2**24
    """Transitions in a fragment, its others counted in."""
    max_streams: int = 2**20
    """Streams in a fragment, its others counted in."""
    max_episodes: int = 2**20
    """Finished episodes in one set of episode statistics, and of single agents as many again."""
    max_stacks: int = 1024
    """Architectures of policies in one message: stacks of weights, and a fragment with its others."""
    max_agents: int = 2**16
    """Agents of one environment."""
    max_policies: int = 2**20
    """Policies that one message names by number."""
    max_nesting: int = 16
    """Spaces within spaces; a Dict of Boxes counts 2."""
    max_tree_nesting: int = 32
    """Lists and maps within each other in a `Tree`; a plain value alone counts 1. Above 32 no protobuf
    library reads it."""
    max_environments: int = 2**16
    """Environment copies that one peer steps together."""
    max_space_elements: int = 2**24
    """Elements of one value of a Box, MultiDiscrete or MultiBinary space."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise ValueError(f"{field.name}={value} lets nothing through; give a number of at least 1")

    def check(self, name: str, found: int) -> None:
        """Raise WireError where `found` is over the limit called `name`."""
        allowed = getattr(self, name)
        if found > allowed:
            raise WireError(f"{name} is {allowed} and {found} came; raise the limit if the sender is trusted")

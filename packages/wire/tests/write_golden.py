"""Write the golden files of a release: `python packages/wire/tests/write_golden.py 0.1`.

What was written once is never written again: later versions must still read it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from outrider.testing.messages import (
    example_fragment,
    example_policy_graph,
    example_spaces,
    example_weights,
    image_fragment,
)
from outrider.testing.multi_agent_messages import example_stacked_graph, example_stacks, example_team
from outrider.testing.stream_messages import DIRECTIONS, TREE
from outrider.wire import (
    EpisodeStatistics,
    Hello,
    ProtocolVersion,
    answer_hello,
    encode_episode_statistics,
    encode_fragment,
    encode_fragment_summary,
    encode_hello,
    encode_policy_graph,
    encode_space,
    encode_tree,
    encode_weights,
    encode_welcome,
    summarise,
)

ENVRUNNER = Hello(
    component="envrunner 0.1.0",
    protocol=ProtocolVersion(1, 0),
    versions={"outrider-wire": "0.1.0"},
    environment_fingerprint="cafe",
    capabilities=frozenset({"zstd"}),
)
ALGORITHM = Hello(
    component="algorithm 0.1.0",
    protocol=ProtocolVersion(1, 0),
    environment_fingerprint="cafe",
    policy_fingerprint="f00d",
    capabilities=frozenset({"zstd", "bfloat16"}),
)
STRANGER = Hello(component="envrunner 9.0.0", protocol=ProtocolVersion(2, 3))


def golden_files() -> dict[str, bytes]:
    """Return the content of every golden file by its name."""
    episodes: EpisodeStatistics = example_fragment().episodes
    weights = example_weights()
    return {
        "fragment": encode_fragment(example_fragment()).to_bytes(),
        "fragment_summary": encode_fragment_summary(summarise(example_fragment())),
        "weights": encode_weights(weights).to_bytes(),
        "weights_without_checksum": encode_weights(weights, checksum=False).to_bytes(),
        "weights_bfloat16": encode_weights(weights, bfloat16=["pi/weight"]).to_bytes(),
        "policy_graph": encode_policy_graph(example_policy_graph()).to_bytes(),
        "episode_statistics": encode_episode_statistics(episodes),
        "team": encode_fragment(example_team()).to_bytes(),
        "team_summary": encode_fragment_summary(summarise(example_team())),
        "stacks": encode_weights(example_stacks()).to_bytes(),
        "stacked_graph": encode_policy_graph(example_stacked_graph()).to_bytes(),
        "hello": encode_hello(ENVRUNNER),
        "welcome": encode_welcome(answer_hello(ENVRUNNER, ALGORITHM)),
        "refusal": encode_welcome(answer_hello(STRANGER, ALGORITHM)),
        "tree": encode_tree(TREE).to_bytes(),
        "fragment_lz4": encode_fragment(image_fragment(), compression="lz4").to_bytes(),
        "fragment_zstd": encode_fragment(image_fragment(), compression="zstd").to_bytes(),
        **{
            f"{name}_{kind}": direction.encode(message)
            for name, direction in DIRECTIONS.items()
            for kind, message in direction.messages.items()
        },
        **{f"space_{name}": encode_space(space) for name, space in example_spaces().items()},
    }


def main() -> None:
    directory = Path(__file__).parent / "golden" / sys.argv[1]
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in golden_files().items():
        path = directory / f"{name}.bin"
        if not path.exists():
            path.write_bytes(content)


if __name__ == "__main__":
    main()

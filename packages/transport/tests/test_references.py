"""References to what is in this process."""

from __future__ import annotations

from outrider.testing.messages import example_fragment, example_weights, same_message
from outrider.testing.multi_agent_messages import example_team
from outrider.transport import FragmentReference, LocalFragment, LocalWeights, WeightsReference
from outrider.wire import summarise


def test_a_local_fragment_is_the_very_object_with_its_summary() -> None:
    fragment = example_fragment()
    reference: FragmentReference = LocalFragment(fragment)
    assert reference.load() is fragment
    assert same_message(reference.summary, summarise(fragment))


def test_local_weights_are_the_very_object_with_their_version() -> None:
    weights = example_weights()
    reference: WeightsReference = LocalWeights(weights)
    assert reference.load() is weights
    assert reference.version == 3


def test_a_local_fragment_of_several_architectures_is_summarised_with_all_of_them() -> None:
    assert LocalFragment(example_team()).summary.num_rows == 9

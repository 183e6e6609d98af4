"""Streams become sequences whose padding nobody sees."""

from typing import Any

import numpy as np
import torch

from outrider.learner.rows.fragment_rows import rows_from_fragments
from outrider.learner.rows.sequences import sequence_rows, starts_in_sequences
from outrider.learner.training.estimates import estimate


def test_a_stream_is_cut_every_so_many_rows_and_its_rest_is_padded() -> None:
    row_QT, valid_QT, length_Q = sequence_rows(np.array([7, 2]), 3)
    assert row_QT.tolist() == [[0, 1, 2], [3, 4, 5], [6, 6, 6], [7, 8, 8]]
    assert valid_QT.astype(int).tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert length_Q.tolist() == [3, 3, 1, 2]


def test_a_state_is_reset_at_episodes_that_start_within_a_sequence() -> None:
    followed = torch.tensor([True, False, True, True, True, False])
    row_QT, valid_QT, _ = sequence_rows(np.array([6]), 4)
    starts = starts_in_sequences(followed, torch.from_numpy(row_QT), torch.from_numpy(valid_QT))
    assert starts.int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]


def test_sequences_give_what_stepping_through_the_streams_gave(lab: Any) -> None:
    policy = lab.policy(use_lstm=True)
    rows = rows_from_fragments([lab.fragment(policy, [11, 3, 8])], torch.device("cpu"))
    estimates = estimate(policy, rows, max_seq_len=4)
    batch = estimates.sequences.take(torch.randperm(len(estimates.sequences)))  # type: ignore[union-attr]
    with torch.no_grad():
        parameters, value_B = batch.forward(policy, batch.observations(rows.observations))
    assert sorted(batch.row_B.tolist()) == list(range(22))
    torch.testing.assert_close(parameters, estimates.parameters[batch.row_B], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(value_B, estimates.value_N[batch.row_B], rtol=1e-4, atol=1e-6)


def test_what_the_runner_saw_is_what_the_learner_recomputes(lab: Any) -> None:
    policy = lab.policy(use_lstm=True)
    fragment = lab.fragment(policy, [11, 3, 8])
    rows = rows_from_fragments([fragment], torch.device("cpu"))
    parameters = estimate(policy, rows, max_seq_len=4).parameters
    log_prob_N = policy.distribution.log_prob(parameters, rows.actions)
    torch.testing.assert_close(log_prob_N, rows.log_prob_N, rtol=1e-4, atol=1e-5)


def test_a_next_observation_is_valued_with_the_state_behind_its_row(lab: Any) -> None:
    policy = lab.policy(use_lstm=True)
    fragment = lab.fragment(policy, [5], end_probability=0.0)
    rows = rows_from_fragments([fragment], torch.device("cpu"))
    state = rows.state
    with torch.no_grad():
        for row in range(5):
            _, _, state = policy.step({"": rows.observations[""][row : row + 1]}, state)
        _, expected, _ = policy.step(rows.next_observations, state)
    actual = estimate(policy, rows, max_seq_len=4).value_of_next_observation_M
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)

from unittest.mock import Mock

from outrider.learner.service.torchrun_groups import TorchrunLearnerGroup
from outrider.learner.service.torchrun_link import end_with


def test_a_rank_ends_when_its_launcher_is_gone() -> None:
    end = Mock()
    end_with(7, parent=Mock(side_effect=[7, 1]), end=end)
    end.assert_called_once_with(1)


def test_an_update_of_fewer_streams_than_ranks_is_left_out_and_counted_and_no_rank_hears_of_it() -> None:
    link, learner, fragment = Mock(num_ranks=2), Mock(), Mock()
    fragment.summary.num_streams, fragment.summary.num_rows = 1, 10
    group = TorchrunLearnerGroup(link, learner)
    assert group.update([fragment]) == {}
    assert group.statistics().num_lost_rows == 10
    link.send.assert_not_called()
    learner.update.assert_not_called()

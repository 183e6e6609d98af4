from unittest.mock import Mock

from outrider.learner.service.torchrun_link import end_with


def test_a_rank_ends_when_its_launcher_is_gone() -> None:
    end = Mock()
    end_with(7, parent=Mock(side_effect=[7, 1]), end=end)
    end.assert_called_once_with(1)

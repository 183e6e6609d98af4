"""What steps brought is noted as it was."""

from __future__ import annotations

import numpy as np

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.sampling.step_planes import StepPlanes


def test_nobody_ended_in_a_copy_that_failed_whatever_its_flags_say() -> None:
    planes = StepPlanes(1, 2, 1)
    everybody = np.ones((2, 1), np.bool_)
    planes.begin(everybody)
    planes.write(
        0,
        MultiAgentStep(
            observations=[],
            acting=everybody,
            rewards=np.zeros((2, 1), np.float32),
            terminated=everybody,
            truncated=everybody,
            over=np.zeros(2, np.bool_),
            last=[],
            failed=np.array([True, False]),
        ),
    )
    assert planes.ended().tolist() == [[False, True]]
    assert planes.started().tolist() == [[True, False]]

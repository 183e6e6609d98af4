"""The probe environments are valid, and the best policy gets what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from outrider.testing import probes


@pytest.mark.parametrize("probe", probes.PROBES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium misses a spec and render modes
def test_a_probe_passes_gymnasiums_checks(probe: Any) -> None:
    check_env(probe(), skip_render_check=True)


BEST: dict[Any, Any] = {
    probes.ConstantReward: lambda first, now: 0,
    probes.DelayedReward: lambda first, now: 0,
    probes.EndlessReward: lambda first, now: 0,
    probes.MatchingAction: lambda first, now: int(now[0] > 0),
    probes.MatchingNumber: lambda first, now: [0.5 * now[0]],
    probes.DelayedCredit: lambda first, now: int(now[0] == 1),
    probes.RememberedCue: lambda first, now: int(first[0] > 0),
}


@pytest.mark.parametrize("probe", BEST)
def test_the_best_policy_gets_the_best_return(probe: Any) -> None:
    env = probe()
    for seed in range(4):
        first, _ = env.reset(seed=seed)
        now, over, episode_return = first, False, 0.0
        while not over:
            now, reward, terminated, truncated, _ = env.step(BEST[probe](first, now))
            episode_return, over = episode_return + reward, terminated or truncated
        assert episode_return == probe.BEST_RETURN


@pytest.mark.parametrize("probe", probes.PROBES)
def test_a_restored_probe_goes_on(probe: Any) -> None:
    env, restored = probe(), probe()
    env.reset(seed=1)
    env.step(env.action_space.sample())
    restored.reset(seed=2)
    restored.set_state(env.get_state())
    action = env.action_space.sample()
    for left, right in zip(env.step(action), restored.step(action), strict=True):
        np.testing.assert_equal(left, right)

"""Says which module settings have no effect, because of other settings or of the spaces."""

from __future__ import annotations

import dataclasses
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from outrider.rlmodule.settings import ModuleSettings
    from outrider.wire import ActionHead

NETWORK_SETTINGS = (
    "fcnet_hiddens",
    "fcnet_activation",
    "encoder",
    "use_lstm",
    "lstm_cell_size",
    "vf_share_layers",
    "free_log_std",
    "initial_log_std",
    "log_std_clip_param",
)
"""What a network of the user's own decides for itself."""
BOX_SETTINGS = ("box_distribution", "free_log_std", "initial_log_std", "log_std_clip_param")


def warn_of_ignored(settings: ModuleSettings, heads: Collection[ActionHead], *, is_own_network: bool) -> None:
    """Warn once for each reason, naming the settings that are not at their defaults."""
    has_box = any(head.kind in {"gaussian", "squashed_gaussian"} for head in heads)
    reasons: dict[str, tuple[bool, tuple[str, ...]]] = {
        "the network is your own and decides this itself": (is_own_network, NETWORK_SETTINGS),
        "the action space has no Box": (not has_box, BOX_SETTINGS),
        "set use_lstm=True to use it": (not settings.use_lstm, ("lstm_cell_size",)),
        "set free_log_std=False to use it": (settings.free_log_std, ("log_std_clip_param",)),
        "set normalize_observations=True to use it": (
            not settings.normalize_observations,
            ("observation_clip",),
        ),
        "set normalize_rewards=True to use it": (not settings.normalize_rewards, ("reward_clip",)),
    }
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    said: set[str] = set()
    for reason, (holds, names) in reasons.items():
        ignored = [name for name in names if getattr(settings, name) != defaults[name] and name not in said]
        if holds and ignored:
            said |= set(ignored)
            shown = ", ".join(f"{name}={getattr(settings, name)!r}" for name in ignored)
            warnings.warn(f"{shown} is ignored: {reason}", stacklevel=3)


@contextmanager
def told_before() -> Iterator[None]:
    """Build once more what was built before, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

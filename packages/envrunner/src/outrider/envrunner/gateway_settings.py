"""Where runners in other processes come from, and how those that dial in from elsewhere are let in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from outrider.envrunner.setting_checks import require_one_of, require_seconds, require_text, require_whole

Backend = Literal["auto", "ray", "process"]
Compression = Literal["none", "lz4", "zstd"]
WeightsDtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewaySettings:
    """The part of `EnvRunnerSettings` that is about runners which connect."""

    env_runner_backend: Backend = "auto"
    """Where the runners live that a run starts itself: "process", as processes of this machine; "ray", as
    actors on a cluster. "auto": on Ray where a cluster, its resources or learners on it are asked for, and
    in processes otherwise."""
    listen: str | None = None
    """Address on which runners of env farms are let in, such as "0.0.0.0:50051" or "127.0.0.1:0", which
    lets the system choose a port. None: none are."""
    num_farm_runners: int | None = None
    """Of `num_env_runners`, those that come from farms; the rest is started by the run. None: all, where
    `listen` is set. Range >= 0."""
    max_runners: int | None = None
    """Most runners that farms may have taking part. Synchronous updates wait for `num_env_runners` of
    them all the same. None: as many as `num_farm_runners`."""
    min_runners: int = 1
    """Runners with which training begins, and below which it waits. Range >= 1."""
    join_timeout_s: float = 600.0
    """Seconds to wait, whenever there are fewer than `min_runners`, before the run gives up. Range
    (0, 1e6]."""
    reconnect_timeout_s: float = 30.0
    """Seconds for which a farm's runner whose connection broke is waited for before it counts as lost.
    Range (0, 1e6]."""
    token_file: str | None = None
    """File with the secrets that let farms in, one to a line. None: the environment variable
    OUTRIDER_TOKEN. One is required on every address but this machine's own unless `insecure`."""
    tls_certificate: str | None = None
    """PEM file with the gateway's certificate. Required on every address but this machine's own unless
    `insecure`."""
    tls_key: str | None = None
    """PEM file with the key of `tls_certificate`."""
    tls_client_ca: str | None = None
    """PEM file of the authority that must have signed the farms' certificates (mutual TLS). None: farms
    need none."""
    insecure: bool = False
    """Whether strangers on the network may connect, read along and send fragments."""
    max_runners_per_token: int = 1024
    """Runners that one token lets in at a time. Range >= 1."""
    max_messages_per_s: float = 20_000.0
    """Messages that one connection may send in a second, on average over five; one that sends more is cut
    off. Range (0, 1e6]."""
    fragment_compression: Compression = "none"
    """How farms that can do so compress what shrinks: observations and actions of whole numbers, flags. zstd
    and lz4 need outrider-wire[compression] on both sides, and at a learner service."""
    weights_dtype: WeightsDtype = "float32"
    """How weights travel to farms that can read it; bfloat16 halves them, and rounds to 3 digits."""
    act_batch_delay_s: float = 0.002
    """Seconds that a request for actions (`ActService`) waits for others, to be computed with them.
    Range [0, 1]."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges; what does not fit each other is found before a run starts."""
        require_one_of("env_runner_backend", self.env_runner_backend, get_args(Backend))
        require_one_of("fragment_compression", self.fragment_compression, get_args(Compression))
        require_one_of("weights_dtype", self.weights_dtype, get_args(WeightsDtype))
        require_text("listen", self.listen, example='an address such as "0.0.0.0:50051"')
        for name in ("token_file", "tls_certificate", "tls_key", "tls_client_ca"):
            require_text(name, getattr(self, name), example="the name of a file")
        if self.num_farm_runners is not None:
            require_whole("num_farm_runners", self.num_farm_runners, at_least=0)
        if self.max_runners is not None:
            require_whole("max_runners", self.max_runners, at_least=1)
        require_whole("min_runners", self.min_runners, at_least=1)
        require_whole("max_runners_per_token", self.max_runners_per_token, at_least=1)
        require_seconds("join_timeout_s", self.join_timeout_s)
        require_seconds("reconnect_timeout_s", self.reconnect_timeout_s)
        if not 0 < self.max_messages_per_s <= 1e6:
            raise ValueError(
                f"max_messages_per_s is {self.max_messages_per_s!r}; it must be a number above 0 and not "
                "above 1e6"
            )
        if not 0 <= self.act_batch_delay_s <= 1:
            raise ValueError(
                f"act_batch_delay_s is {self.act_batch_delay_s!r}; it must be a number of seconds from 0 to 1"
            )

"""How many learners there are and what each of them gets. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from outrider.learner.training.ignored import ignored
from outrider.learner.training.number_check import check_number

_OF_THE_SERVICE = (
    "learner_address",
    "learner_token_file",
    "learner_tls_ca",
    "learner_tls_certificate",
    "learner_tls_key",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerGroupSettings:
    """Learners of one run; together they train one set of weights, or each some of several policies."""

    num_learners: int | Literal["auto"] = 0
    """Learner processes; 0 learns in the process of the algorithm, "auto" chooses by what the machines
    have and says what it chose."""
    num_cpus_per_learner: float = 1.0
    """CPU cores that each learner reserves, and threads that its torch uses, one at least; at least 0.
    With `num_learners=0` nothing is reserved."""
    num_gpus_per_learner: float = 0.0
    """GPUs that each learner reserves, 0 or above; a fraction shares one. With `num_learners=0`, any
    value above 0 puts the learner on the first CUDA device."""
    custom_resources_per_learner: Mapping[str, float] = field(default_factory=dict)
    """Amounts of other resources that each learner reserves, by the names that Ray knows them by; each
    above 0. Ignored with `num_learners=0`."""
    learner_runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """Ray's runtime environment of the learner processes, such as {"env_vars": {...}}. Ignored with
    `num_learners=0`."""
    learner_timeout_s: float = 600.0
    """Longest wait for one update of learners in other processes, in seconds; above 0. It bounds each sum
    over the learners too. Ignored with `num_learners=0`."""
    learner_start_timeout_s: float = 120.0
    """Longest wait until all learner processes are up, in seconds; above 0. Ignored with
    `num_learners=0`."""
    num_updates_between_snapshots: int = 10
    """Updates after which learners in other processes hand a copy of their state to the algorithm's; at
    least 1. At most so many, and those under way, are lost when a learner dies. Ignored with
    `num_learners=0`."""
    max_learner_restarts: int = 10
    """How many times in a row, without an update in between, learners are started anew after one of
    them died; at least 0. Ignored with `num_learners=0`."""
    learner_address: str | None = None
    """Address of an `outrider-learner` that trains in place of learners of this run's own, such as
    "gpu-3:50052" or "unix:/run/learner". It has as many learners as it was started with. None: there is
    none."""
    learner_token_file: str | None = None
    """File whose first line is the secret that the learner service asks for. None: the environment
    variable OUTRIDER_TOKEN."""
    learner_tls_ca: str | None = None
    """PEM file of the authority that signed the learner service's certificate. None: those that the
    system trusts."""
    learner_tls_certificate: str | None = None
    """PEM file with this run's own certificate, for a learner service that asks for one."""
    learner_tls_key: str | None = None
    """PEM file with the key of `learner_tls_certificate`."""
    learner_insecure: bool = False
    """Whether the learner service is dialled without TLS at an address that is not this machine's own."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if isinstance(self.num_learners, str):
            if self.num_learners != "auto":
                raise ValueError(f'num_learners is {self.num_learners!r}; give a whole number or "auto"')
        else:
            check_number("num_learners", self.num_learners, low=0, whole=True)
        check_number("num_cpus_per_learner", self.num_cpus_per_learner, low=0)
        check_number("num_gpus_per_learner", self.num_gpus_per_learner, low=0)
        for name, amount in self.custom_resources_per_learner.items():
            check_number(f"custom_resources_per_learner[{name!r}]", amount, above=0)
        check_number("learner_timeout_s", self.learner_timeout_s, above=0)
        check_number("learner_start_timeout_s", self.learner_start_timeout_s, above=0)
        check_number("num_updates_between_snapshots", self.num_updates_between_snapshots, low=1, whole=True)
        check_number("max_learner_restarts", self.max_learner_restarts, low=0, whole=True)
        self._check_service()

    def _check_service(self) -> None:
        for name in _OF_THE_SERVICE:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise ValueError(f"{name} is {value!r}; give a text that is not empty, or None")
        if (self.learner_tls_certificate is None) != (self.learner_tls_key is None):
            raise ValueError("learner_tls_certificate and learner_tls_key belong together; give both or none")

    def ignored(self) -> list[str]:
        """Return a sentence for each setting that was given and has no effect."""
        if self.learner_address is not None:
            return []
        cure = "set learner_address, or leave it out"
        return ignored(self, *_OF_THE_SERVICE[1:], "learner_insecure", cure=cure)

"""Cuts the fragments that come in into portions: what each update will train on. Free of torch.

    fragments -- add --> [ old? thrown away ] --> the portion that grows --> portions that are dealt
                                                                              --> learned

An update makes one version. The learner trains on portions in their order, so that the version it will
have at each is known when the portion is cut: how old a fragment will be is decided here, once, and all
ranks of a group train on the same portions without asking each other.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from outrider.transport import FragmentReference


@dataclass(frozen=True, kw_only=True, slots=True)
class Portion:
    """The fragments of one update."""

    fragments: tuple[FragmentReference, ...]
    version: int
    """Of the learner just before it trains on them."""
    num_rows: int
    staleness: Mapping[int, int]
    """Number of fragments by how many versions older than `version` they are."""
    num_taken: int
    """Its fragments, and those that were thrown away or lost since the portion before."""


def is_same(one: Portion, other: Portion) -> bool:
    """Return whether these are one portion, which may have become of another version meanwhile."""
    return one.fragments is other.fragments


class Portions:
    """The fragments that were handed over and not yet learned from, oldest first."""

    def __init__(
        self,
        *,
        train_batch_size: int,
        max_staleness: int,
        capacity: int,
        version: int,
        num_ranks: int = 1,
        num_steps_per_fragment: int | None = None,
    ) -> None:
        """Take at least `train_batch_size` rows for an update, and let `capacity` portions wait.

        With `num_steps_per_fragment` steps are taken instead of rows, so many of each fragment: several
        agents have several rows of a step, or none.
        `version` is the learner's now. A portion has at least a stream for each of `num_ranks`.
        """
        self._train_batch_size = train_batch_size
        self._max_staleness = max_staleness
        self._capacity = capacity
        self._num_ranks = num_ranks
        self._num_steps_per_fragment = num_steps_per_fragment
        self._version = version
        """Of the learner when it comes to the portion that grows."""
        self._growing: list[FragmentReference] = []
        self._dealt: deque[Portion] = deque()
        self._num_begun = 0
        """Portions at the front of `_dealt` that the learner no longer lets wait."""
        self._num_stale_rows = 0
        self._num_taken = 0
        """Fragments that came since the newest portion was cut, thrown away or not."""
        self._largest = 0
        """Rows, or steps, of the largest fragment so far."""

    @property
    def room(self) -> int:
        """How many more fragments may come: about what completes the portions that may wait, or 0."""
        num_free = self._capacity - (len(self._dealt) - self._num_begun)
        if num_free <= 0:
            return 0
        num_rows = num_free * self._train_batch_size - sum(map(self._size, self._growing))
        return max(1, num_rows // (self._largest or self._train_batch_size))

    @property
    def num_dealt(self) -> int:
        """How many portions `add` returned that were not learned from yet."""
        return len(self._dealt)

    @property
    def dealt(self) -> tuple[Portion, ...]:
        """Those portions, oldest first."""
        return tuple(self._dealt)

    def add(self, fragments: Sequence[FragmentReference]) -> list[Portion]:
        """Take fragments in; return the portions that they completed, for the learner to train on."""
        completed = []
        for fragment in fragments:
            self._largest = max(self._largest, self._size(fragment))
            self._num_taken += 1
            if self._version - fragment.summary.policy_version > self._max_staleness:
                self._num_stale_rows += fragment.summary.num_rows
                continue
            self._growing.append(fragment)
            size = sum(map(self._size, self._growing))
            num_streams = sum(each.summary.num_streams for each in self._growing)
            if size >= self._train_batch_size and num_streams >= self._num_ranks:
                completed.append(self._cut())
        return completed

    def learned(self, num_updates: int) -> list[Portion]:
        """Remove and return the oldest portions, after so many updates."""
        self._num_begun = max(0, self._num_begun - num_updates)
        return [self._dealt.popleft() for _ in range(num_updates)]

    def begun(self, num_portions: int) -> None:
        """Note that so many of the dealt portions do not wait any longer."""
        self._num_begun = num_portions

    def take_num_stale_rows(self) -> int:
        """Return how many rows were thrown away since the last call."""
        count, self._num_stale_rows = self._num_stale_rows, 0
        return count

    def lost(self, num_fragments: int) -> None:
        """Note that so many of those which `restart` returned are gone and will not be added."""
        self._num_taken += num_fragments

    def cut_anew(self, portion: Portion, there: Sequence[FragmentReference]) -> list[Portion]:
        """Take back a dealt portion that none trains on; add, as `add` does, what is still there of it.

        Those that were dealt after it come a version earlier.
        """
        before: list[Portion] = []
        while not is_same(self._dealt[0], portion):
            before.append(self._dealt.popleft())
        num_gone = self._dealt.popleft().num_taken - len(there)
        after = [_a_version_earlier(each) for each in self._dealt]
        if after:
            after[0] = replace(after[0], num_taken=after[0].num_taken + num_gone)
        else:
            self._num_taken += num_gone
        self._dealt = deque([*before, *after])
        self._version -= 1
        return self.add(there)

    def count_change(self) -> None:
        """Note that the learner counts one version more when it comes to the portion that grows."""
        self.go_on_at(self._version + 1)

    def count_lost(self, num_portions: int) -> None:
        """Note that so many portions made no version, because nothing of them was left to learn from."""
        self._version -= num_portions

    def go_on_at(self, version: int) -> None:
        """Note that the learner, which has trained on all that was dealt, is at a higher version now."""
        self._version = version
        growing, self._growing = self._growing, []
        self._num_taken -= len(growing)
        self.add(growing)  # too few for a portion, and some may be too old now

    def restart(self, version: int) -> list[FragmentReference]:
        """Begin anew with a learner that is at `version`; return what none has trained on, to be added."""
        fragments = [fragment for portion in self._dealt for fragment in portion.fragments] + self._growing
        self._num_taken += sum(portion.num_taken for portion in self._dealt) - len(fragments)
        self._dealt.clear()
        self._num_begun = 0
        self._growing = []
        self._version = version
        return fragments

    def _size(self, fragment: FragmentReference) -> int:
        """Return how much of a batch a fragment is."""
        if self._num_steps_per_fragment is None:
            return fragment.summary.num_rows
        return self._num_steps_per_fragment

    def _cut(self) -> Portion:
        ages = [self._version - fragment.summary.policy_version for fragment in self._growing]
        portion = Portion(
            fragments=tuple(self._growing),
            version=self._version,
            num_rows=sum(fragment.summary.num_rows for fragment in self._growing),
            staleness=Counter(ages),
            num_taken=self._num_taken,
        )
        self._dealt.append(portion)
        self._growing = []
        self._num_taken = 0
        self._version += 1
        return portion


def _a_version_earlier(portion: Portion) -> Portion:
    staleness = Counter({age - 1: count for age, count in portion.staleness.items()})
    return replace(portion, version=portion.version - 1, staleness=staleness)

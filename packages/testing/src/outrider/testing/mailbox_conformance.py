"""What every mailbox must do, as a class to inherit from. It needs no test framework.

    class TestLocalMailbox(MailboxConformance):
        def make_mailbox(self, capacity):
            return LocalMailbox(capacity)

Each `test_` method makes its own mailbox, closes it, and raises AssertionError with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from outrider.testing.messages import example_weights, same_message
from outrider.transport import Mailbox, MailboxClosedError
from outrider.wire import Weights

PATIENCE_S = 30.0
"""How long something that must happen may take before it counts as stuck."""


class MailboxConformance:
    """The tests. A subclass says how to make the mailbox, and may replace the message."""

    def make_mailbox(self, capacity: int) -> Mailbox[Any]:
        """Return a new mailbox; in a transport between processes both sides of it are behind this."""
        raise NotImplementedError

    def make_message(self, number: int) -> Any:  # noqa: ANN401  (whatever the mailbox carries)
        """Return a message in which `number_of` finds `number` again."""
        return replace(example_weights(), version=number)

    def number_of(self, message: Any) -> int:  # noqa: ANN401
        """Return the number with which a message was made."""
        assert isinstance(message, Weights), f"a Weights was put and a {type(message).__name__} came out"
        return message.version

    def test_a_message_comes_out_as_it_was_put_in(self) -> None:
        mailbox = self.make_mailbox(1)
        mailbox.put(self.make_message(7), timeout_s=PATIENCE_S)
        received = mailbox.get(timeout_s=PATIENCE_S)
        assert same_message(received, self.make_message(7)), "the message changed on its way"
        mailbox.close()

    def test_messages_come_out_in_the_order_in_which_they_were_put_in(self) -> None:
        mailbox = self.make_mailbox(3)
        for number in range(3):
            mailbox.put(self.make_message(number), timeout_s=PATIENCE_S)
        found = [self.number_of(mailbox.get(timeout_s=PATIENCE_S)) for _ in range(3)]
        assert found == [0, 1, 2], f"put 0, 1, 2 and took {found}"
        mailbox.close()

    def test_a_full_mailbox_takes_nothing_more_until_one_is_taken_out(self) -> None:
        mailbox = self.make_mailbox(2)
        for number in range(2):
            mailbox.put(self.make_message(number), timeout_s=PATIENCE_S)
        error = raised(TimeoutError, lambda: mailbox.put(self.make_message(2), timeout_s=0.01))
        assert "0.01 s" in str(error), f"the deadline is missing in {error}"
        mailbox.get(timeout_s=PATIENCE_S)
        mailbox.put(self.make_message(3), timeout_s=PATIENCE_S)
        found = [self.number_of(mailbox.get(timeout_s=PATIENCE_S)) for _ in range(2)]
        assert found == [1, 3], f"the message that was refused must not arrive; took {found}"
        mailbox.close()

    def test_a_sender_that_waits_goes_on_when_there_is_room(self) -> None:
        mailbox = self.make_mailbox(1)
        mailbox.put(self.make_message(0), timeout_s=PATIENCE_S)
        with ThreadPoolExecutor(1) as threads:
            put = threads.submit(mailbox.put, self.make_message(1), timeout_s=PATIENCE_S)
            found = [self.number_of(mailbox.get(timeout_s=PATIENCE_S)) for _ in range(2)]
            put.result(PATIENCE_S)
        assert found == [0, 1], f"put 0, 1 and took {found}"
        mailbox.close()

    def test_an_empty_mailbox_gives_nothing_within_the_deadline(self) -> None:
        mailbox = self.make_mailbox(1)
        error = raised(TimeoutError, lambda: mailbox.get(timeout_s=0.01))
        assert "0.01 s" in str(error), f"the deadline is missing in {error}"
        mailbox.close()

    def test_a_deadline_in_the_past_is_refused(self) -> None:
        mailbox = self.make_mailbox(1)
        raised(ValueError, lambda: mailbox.get(timeout_s=-1.0))
        raised(ValueError, lambda: mailbox.put(self.make_message(0), timeout_s=-1.0))
        mailbox.close()

    def test_a_receiver_that_waits_gets_what_comes(self) -> None:
        mailbox = self.make_mailbox(1)
        with ThreadPoolExecutor(1) as threads:
            get = threads.submit(mailbox.get, timeout_s=PATIENCE_S)
            mailbox.put(self.make_message(5), timeout_s=PATIENCE_S)
            assert self.number_of(get.result(PATIENCE_S)) == 5
        mailbox.close()

    def test_what_is_in_flight_when_it_closes_can_still_be_taken(self) -> None:
        mailbox = self.make_mailbox(2)
        mailbox.put(self.make_message(1), timeout_s=PATIENCE_S)
        mailbox.close("the runner is done")
        assert self.number_of(mailbox.get(timeout_s=PATIENCE_S)) == 1
        error = raised(MailboxClosedError, lambda: mailbox.get(timeout_s=PATIENCE_S))
        assert "the runner is done" in str(error), f"the reason is missing in {error}"

    def test_a_closed_mailbox_takes_nothing_and_says_why(self) -> None:
        mailbox = self.make_mailbox(1)
        mailbox.close("the learner stopped")
        mailbox.close("and again")
        error = raised(MailboxClosedError, lambda: mailbox.put(self.make_message(0), timeout_s=PATIENCE_S))
        assert "the learner stopped" in str(error), f"the first reason is missing in {error}"

    def test_closing_wakes_a_receiver_that_waits(self) -> None:
        mailbox = self.make_mailbox(1)
        with ThreadPoolExecutor(1) as threads:
            get = threads.submit(mailbox.get)
            mailbox.close()
            assert isinstance(get.exception(PATIENCE_S), MailboxClosedError), "get went on waiting"

    def test_closing_wakes_a_sender_that_waits(self) -> None:
        mailbox = self.make_mailbox(1)
        mailbox.put(self.make_message(0), timeout_s=PATIENCE_S)
        with ThreadPoolExecutor(1) as threads:
            put = threads.submit(mailbox.put, self.make_message(1))
            mailbox.close()
            assert isinstance(put.exception(PATIENCE_S), MailboxClosedError), "put went on waiting"
        assert self.number_of(mailbox.get(timeout_s=PATIENCE_S)) == 0
        raised(MailboxClosedError, lambda: mailbox.get(timeout_s=PATIENCE_S))

    def test_counts_say_what_is_in_flight(self) -> None:
        mailbox = self.make_mailbox(3)
        assert mailbox.capacity == 3, f"made for 3 messages, says {mailbox.capacity}"
        for number in range(3):
            mailbox.put(self.make_message(number), timeout_s=PATIENCE_S)
        mailbox.get(timeout_s=PATIENCE_S)
        counts = mailbox.statistics()
        found = (counts.num_put, counts.num_taken, counts.num_in_flight)
        assert found == (3, 1, 2), f"3 were put and 1 was taken; counted {found}"
        mailbox.close()

    def test_the_side_that_waits_is_counted(self) -> None:
        mailbox = self.make_mailbox(1)
        raised(TimeoutError, lambda: mailbox.get(timeout_s=0.02))
        mailbox.put(self.make_message(0), timeout_s=PATIENCE_S)
        raised(TimeoutError, lambda: mailbox.put(self.make_message(1), timeout_s=0.02))
        counts = mailbox.statistics()
        assert counts.get_wait_s >= 0.015, f"a receiver waited 0.02 s; counted {counts.get_wait_s}"
        assert counts.put_wait_s >= 0.015, f"a sender waited 0.02 s; counted {counts.put_wait_s}"
        mailbox.close()

    def test_many_senders_and_receivers_move_each_message_once_and_in_order(self) -> None:
        mailbox = self.make_mailbox(2)
        num_senders, num_each = 3, 40

        def send(sender: int) -> None:
            for number in range(num_each):
                mailbox.put(self.make_message(sender * num_each + number), timeout_s=PATIENCE_S)

        with ThreadPoolExecutor(num_senders + 2) as threads:
            receivers = [threads.submit(self._drain, mailbox) for _ in range(2)]
            _finish([threads.submit(send, sender) for sender in range(num_senders)])
            mailbox.close()
            received = _finish(receivers)
        everything = sorted(number for numbers in received for number in numbers)
        assert everything == list(range(num_senders * num_each)), "a message was lost or came twice"
        for numbers in received:
            for sender in range(num_senders):
                own = [number for number in numbers if number // num_each == sender]
                assert own == sorted(own), f"messages of one sender changed places: {own}"

    def _drain(self, mailbox: Mailbox[Any]) -> list[int]:
        """Take messages until the mailbox is closed and empty; return their numbers."""
        found: list[int] = []
        while True:
            try:
                message = mailbox.get(timeout_s=PATIENCE_S)
            except MailboxClosedError:
                return found
            in_flight = mailbox.statistics().num_in_flight
            assert in_flight <= mailbox.capacity, f"{in_flight} in flight in a mailbox of {mailbox.capacity}"
            found.append(self.number_of(message))


def raised(expected: type[Exception], call: Callable[[], object]) -> Exception:
    """Return the exception of the expected type that `call` raises."""
    try:
        call()
    except expected as error:
        return error
    raise AssertionError(f"expected {expected.__name__}, and nothing was raised")


def _finish(futures: list[Future[Any]]) -> list[Any]:
    return [future.result(PATIENCE_S) for future in futures]

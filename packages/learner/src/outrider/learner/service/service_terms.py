"""What both sides of a learner service keep to and accept of each other. Free of torch and gRPC."""

from outrider.wire import Limits
from outrider.wire.session import Terms

SERVICE = "outrider.wire.v1.LearnerService/Learn"
TERMS = Terms(heartbeat_interval_s=2.5, silence_timeout_s=10.0)
"""A side that froze is noticed within 12 s, whatever else is under way."""
LIMITS = Limits(max_message_bytes=2**34, max_header_bytes=2**24, max_arrays=2**18, max_stacks=2**13)
"""States hold the weights, and twice as many bytes of the optimiser: more than a stranger may send.

A recurrent policy that cannot be stacked has 52 arrays in a state and 3 kB of its header: some 5,000 fit.
"""

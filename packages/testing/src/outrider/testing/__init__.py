"""Conformance suites and probe environments of Outrider."""

"""Imported by a fork server, it ends that with whoever started it: its own children would keep it alive."""

from tests.faults.operators import die_with_parent

die_with_parent()

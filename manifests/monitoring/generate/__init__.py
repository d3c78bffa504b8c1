"""Writes what a monitoring system is given: dashboards, alerts, the table of metrics. No part of what runs.

`make generate` runs it. It reads the metrics from the code of the processes that tell them, so that none can be named
here that does not exist.
"""

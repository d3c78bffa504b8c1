"""Benchmarks: `make bench-NAME`. They measure and report; nothing here fails because a machine is slow."""

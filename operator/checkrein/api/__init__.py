"""The four resources and the contracts between processes. No clock, no network."""

"""Rules that no executed action breaks, for the probe, the evaluation and the agent alike."""

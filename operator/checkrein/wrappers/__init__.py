"""What stands between environment and policy, for probe, training, evaluation and client alike."""

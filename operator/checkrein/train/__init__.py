"""Entry points of the trainer image: probe, trainer, evaluator."""

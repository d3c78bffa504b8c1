"""Statistical judgements: numbers in, verdict with its evidence out."""

"""Fine-tuning in plain torch: what to freeze, how fast to train the rest, what to carry over."""

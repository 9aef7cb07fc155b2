"""What is asked for: prompts, the gate that follows them, and how well it does."""

import backend.nn.hermetic  # noqa: F401 (must come before transformers)

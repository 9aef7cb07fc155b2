"""The network, its loss and its weights; with all of it, transformers stays offline."""

import backend.nn.hermetic  # noqa: F401 (must come before transformers)

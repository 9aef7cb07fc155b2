"""The network of AdaTAD: backbone with adapters, pyramid, heads, losses and decoding; with it,
transformers stays offline."""

import backend.nn.hermetic  # noqa: F401 (must come before transformers)

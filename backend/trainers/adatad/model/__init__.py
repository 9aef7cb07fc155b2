"""The network of AdaTAD: backbone with adapters, pyramid, heads, losses and decoding."""

"""The network of MOTRv2, under the reference's tensor names, and what trains and runs it."""

"""What the machine is, what it may decide for a run, and what to do when memory runs out.

For every trainer; nothing here imports a training stack."""

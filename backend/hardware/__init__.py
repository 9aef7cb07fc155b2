"""What the machine can carry: GPU tiers, sampling, and what to do when memory runs out."""

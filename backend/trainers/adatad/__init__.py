"""AdaTAD: actions in long videos, found with adapters on a frozen VideoMAE backbone."""

"""Detection datasets in the formats people have them in, read into one."""

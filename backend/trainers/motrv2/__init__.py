"""MOTRv2: tracking by queries on top of a detector's boxes, for one class or many."""

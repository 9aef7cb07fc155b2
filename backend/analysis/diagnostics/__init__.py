"""Why does it not converge? One rule per file: evidence in, finding out."""

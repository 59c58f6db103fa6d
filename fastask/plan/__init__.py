"""Dependencies: read as a tree, flattened into steps, executed once for each run."""

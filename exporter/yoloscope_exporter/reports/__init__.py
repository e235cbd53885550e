"""Reports on one run and comparisons of several."""

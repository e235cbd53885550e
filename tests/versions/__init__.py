"""This version together with version 0.1."""

"""The sampler, which runs the collectors periodically, and the exposition of its newest snapshot."""

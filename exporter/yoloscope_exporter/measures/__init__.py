"""Every quantity once: what it is called, how it is calculated, and from which value on it says something."""

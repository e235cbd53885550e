"""Collectors are run on their periods; scrapes get the newest snapshot."""

"""The running exporter."""

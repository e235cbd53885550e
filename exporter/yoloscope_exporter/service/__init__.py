"""The running exporter: sampler, registry and web server put together, its log and its signals."""

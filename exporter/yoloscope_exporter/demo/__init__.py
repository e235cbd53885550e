"""What `yoloscope demo` trains on: photographs made on the spot, and a small real training."""

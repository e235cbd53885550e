"""What `yoloscope demo` needs: a data set made on the spot, a real training, and child processes."""

"""What `yoloscope tune` needs: probes of a training command, what they measured, and the search among settings."""

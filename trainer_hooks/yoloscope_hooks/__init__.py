"""What runs inside the training process: standard library only, torch only if it is already imported."""

"""One file per command of `yoloscope`."""

"""Terminal output of `yoloscope top`, `diagnose` and `report --black-box`."""

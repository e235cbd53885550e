"""What `yoloscope check` looks at before a training: machine, Python of the training, exporter, with a fix for each."""

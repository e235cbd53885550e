"""What `yoloscope tune` and the hooks agree on: two variables of the environment, and a file."""

#: A JSON object of Ultralytics' arguments that a training has in place of its own.
ARGUMENTS = "YOLOSCOPE_ARGUMENTS"
#: A JSON object: the training is a probe. `folder` takes what it would write beside the user's data. If nobody else
#: ends it, `deadline` (of the monotonic clock, which each node has its own of) does, or `seconds` from its start.
PROBE = "YOLOSCOPE_PROBE"
#: A file that a probe lays into its folder: the command has cache=disk, and the probe has not.
WITHOUT_DISK_CACHE = "without-disk-cache"

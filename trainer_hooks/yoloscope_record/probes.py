"""What `yoloscope tune` and the hooks agree on: two variables of the environment, and a file."""

#: A JSON object of Ultralytics' arguments that a training has in place of its own.
ARGUMENTS = "YOLOSCOPE_ARGUMENTS"
#: A JSON object: the training is a probe. `folder` takes what it would write beside the user's data, `deadline` (of the
#: monotonic clock) ends it if nobody else does.
PROBE = "YOLOSCOPE_PROBE"
#: A file that a probe lays into its folder: the command has cache=disk, and the probe has not.
WITHOUT_DISK_CACHE = "without-disk-cache"

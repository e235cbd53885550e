"""The metrics of trainings and predictions, once: what records hold, and what follows from a record and its file.

To add a metric: one constant, named as the metric without its prefix, in upper case.
"""

from yoloscope_record.metrics import Metric, counter, gauge, histogram, info

#: Values of labels that are fixed sets. Everything else (run, rank, worker ...) is open.
STATES = ("setup", "train", "validate", "checkpoint", "finished", "failed", "killed")
#: How a process says itself that it has ended; one that is gone without a word was killed. A prediction was stopped if
#: somebody has ended it by Ctrl-C or SIGTERM, as most streams end.
FINAL, KILLED, STOPPED = ("finished", "failed", "stopped"), "killed", "stopped"
#: States of ranks that died, and the verdicts that say so.
DEAD = ("failed", KILLED)
#: Kinds of records beside those of trainings, each also the state it is in until its process ends.
PREDICTIONS = ("predict", "validate", "export")
#: What is told as the fact `mode` of a run of each kind: who tracks predicts.
KINDS_OF_MODES = {**{kind: kind for kind in PREDICTIONS}, "track": "predict"}
#: States of such a record, and all states that a file may be in: its head holds an index into these.
PREDICT_STATES = (*PREDICTIONS, *FINAL, KILLED)
RECORD_STATES = (*STATES, "predict", "export", STOPPED)
PHASES = (
    "setup",
    "loader_start",
    "data_wait",
    "callbacks",
    "h2d",
    "preprocess",
    "forward",
    "backward",
    "backward_local",
    "backward_exposed",
    "optimizer",
    "other",
    "validate",
    "checkpoint",
)

#: What a training does before its first batch: `scan` reads labels, `cache` images, `loader` builds loaders.
SETUP_STAGES = ("scan", "cache", "amp_check", "autobatch", "model", "loader", "ddp", "other")

#: Seconds. From a fast step on a small model (1 ms) to a stuck loader (one minute).
STEP_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

#: Where the time of predictions goes; `validate` has `metrics` and no `save`, `user`, `load`.
PREDICT_PHASES = (
    "setup",
    "load",
    "source",
    "preprocess",
    "inference",
    "postprocess",
    "callbacks",
    "save",
    "metrics",
    "user",
    "idle",
    "other",
)
#: Seconds. From a small model on a fast GPU (1 ms) to one image on a slow CPU; fine enough for a 99th percentile.
IMAGE_BUCKETS = (
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0),
)

# --- run --------------------------------------------------------------------------------------------------------------
_RANK = ("run", "rank")
RUN_FACTS = (
    "task",
    "model",
    "data",
    "imgsz",
    "optimizer",
    "amp",
    "amp_asked",
    "cache",
    "workers",
    "world_size",
    "device",
    "close_mosaic",
    "ultralytics",
    "torch",
    "cuda",
    "user",
    "pid",
    "slurm_job_id",
    "pod",
    "visible_gpus",
    "nbs",
    "weight_decay",
    "lr0",
    "lrf",
    "warmup_epochs",
    "patience",
    "val",
    "save_period",
    "rect",
    "mosaic",
    "multi_scale",
    "compile",
    "deterministic",
    "fraction",
    "channels_last",
)
TRAIN_RUN_INFO = info("train_run_info", "Facts about a training, per rank.", *_RANK, *RUN_FACTS)
JOB_FACTS = ("slurm_job_id", "slurm_job_user", "slurm_partition", "namespace", "pod", "container")
TRAIN_JOB_INFO = info(
    "train_job_info", "The Slurm job or the Kubernetes pod a rank belongs to, where there is one.", *_RANK, *JOB_FACTS
)
END_FACTS = ("exception", "message", "signal", "own", "at", "waited", "event", "cause")
#: What ended a rank, beside the signal: the label `event`.
REBOOT, JOB_OVER, JOB_CANCELLED, JOB_REQUEUED = "reboot", "job_over", "job_cancelled", "job_requeued"
TRAIN_END_INFO = info(
    "train_end_info",
    "How a rank ended before its time: the type and message of the exception, or the signal, as far as one is known; "
    "the last call of the user's own code and the last of all; `peers` if it waited for other ranks; what else ended "
    "it (reboot, job_over, job_cancelled, job_requeued); the cause that was told when its record was kept.",
    *_RANK,
    *END_FACTS,
)
TRAIN_DEVICE_INFO = info("train_device_info", "Which GPU a rank trains on.", *_RANK, "gpu", "uuid")
TRAIN_UP = gauge("train_up", "1 while the training process lives; 0 after a clean end as after a death.", *_RANK)
TRAIN_STATE = gauge(
    "train_state",
    "1 for the state the rank is in (setup, train, validate, checkpoint, finished, failed, killed).",
    *_RANK,
    "state",
)
TRAIN_START_TIMESTAMP_SECONDS = gauge("train_start_timestamp_seconds", "Unix time of the start.", *_RANK)
TRAIN_LAST_BATCH_TIMESTAMP_SECONDS = gauge(
    "train_last_batch_timestamp_seconds", "Unix time at which the last training batch ended.", *_RANK
)
TRAIN_END_TIMESTAMP_SECONDS = gauge(
    "train_end_timestamp_seconds", "Unix time of a clean or failed end; absent before and after a kill.", *_RANK
)
TRAIN_EPOCH = gauge("train_epoch", "Epoch under way, counted from 1.", *_RANK)
TRAIN_EPOCHS = gauge("train_epochs", "Epochs asked for.", *_RANK)
TRAIN_EPOCH_BATCHES = gauge("train_epoch_batches", "Batches in an epoch of this rank.", *_RANK)
TRAIN_BATCHES_TOTAL = counter("train_batches_total", "Training batches done.", *_RANK)
TRAIN_IMAGES_TOTAL = counter("train_images_total", "Training images done.", *_RANK)
TRAIN_FLOPS_TOTAL = counter(
    "train_flops_total",
    "Floating-point operations of the model's layers for these images, forward and backward, by their shapes at imgsz; "
    "a multiplication and an addition are one each. Absent where they are not known: multi_scale, rect, layers of "
    "other kinds.",
    *_RANK,
)
TRAIN_OPTIMIZER_STEPS_TOTAL = counter("train_optimizer_steps_total", "Optimizer steps done.", *_RANK)
TRAIN_PHASE_SECONDS_TOTAL = counter(
    "train_phase_seconds_total", "Where the rank's wall time went, by phase.", *_RANK, "phase"
)
TRAIN_VALIDATE_SECONDS_TOTAL = counter(
    "train_validate_seconds_total",
    "What validations of the training took by part: waiting for the loader, preprocess, inference with the loss, "
    "postprocess (non-maximum suppression), metrics.",
    *_RANK,
    "part",
)
TRAIN_STEP_SECONDS = histogram(
    "train_step_seconds",
    "Time of a step from batch start to batch end, the data wait left out.",
    *_RANK,
    buckets=STEP_BUCKETS,
)
TRAIN_DATA_WAIT_SECONDS = histogram(
    "train_data_wait_seconds", "Time a step waited for its batch.", *_RANK, buckets=STEP_BUCKETS
)
TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL = counter(
    "train_first_batch_wait_seconds_total",
    "Wait for the first batches of epochs (workers started, prefetch filled): the phase loader_start.",
    *_RANK,
)
TRAIN_CALLBACK_SECONDS_TOTAL = counter(
    "train_callback_seconds_total",
    "Time in other people's callbacks, by module and name of the slow ones; the rest are `(others)`.",
    *_RANK,
    "callback",
)
TRAIN_CALLBACK_CALLS_TOTAL = counter(
    "train_callback_calls_total", "Calls of other people's callbacks, named as their time is.", *_RANK, "callback"
)
TRAIN_REMAINING_SECONDS = gauge(
    "train_remaining_seconds",
    "Time to the last epoch's end at the mean speed so far; early stopping comes sooner.",
    *_RANK,
)
TRAIN_CHECKPOINTS_TOTAL = counter("train_checkpoints_total", "Times Ultralytics saved the model.", *_RANK)
TRAIN_BATCH_SIZE = gauge("train_batch_size", "Images in a batch of this rank.", *_RANK)
TRAIN_WORKERS = gauge("train_workers", "Loader workers of this rank.", *_RANK)
TRAIN_CACHE_NEEDED_BYTES = gauge(
    "train_cache_needed_bytes",
    "What all images of training and validation take decoded, by the cache that would hold them (ram, disk).",
    *_RANK,
    "cache",
)
TRAIN_CACHE_DISK_AVAILABLE_BYTES = gauge(
    "train_cache_disk_available_bytes",
    "Room beside the training images when training began; 0 if their folder cannot be written to.",
    *_RANK,
)
TRAIN_SETUP_SECONDS_TOTAL = counter(
    "train_setup_seconds_total",
    "Where the phase setup went: reading labels (scan), caching images (cache), checking AMP (amp_check), finding a "
    "batch size (autobatch), model, loader, DDP's start (ddp), and what is none of these or came before the record.",
    *_RANK,
    "stage",
)
TRAIN_SETUP_STAGE = gauge(
    "train_setup_stage", "1 for the stage of the set-up under way, or in which it ended; else absent.", *_RANK, "stage"
)
TRAIN_SETUP_PROGRESS_RATIO = gauge(
    "train_setup_progress_ratio",
    "How much of the stage is done, where Ultralytics shows a progress bar: labels and cache.",
    *_RANK,
)

# --- loader -----------------------------------------------------------------------------------------------------------
_WORKER = ("run", "rank", "worker")
TRAIN_WORKER_BATCHES_TOTAL = counter("train_worker_batches_total", "Batches prepared by the worker.", *_WORKER)
TRAIN_WORKER_BATCH_SECONDS_TOTAL = counter(
    "train_worker_batch_seconds_total", "Time the worker spent preparing batches.", *_WORKER
)
TRAIN_WORKER_CPU_SECONDS_TOTAL = counter(
    "train_worker_cpu_seconds_total",
    "CPU time of the worker while preparing batches; the rest of the preparation is waiting, mostly for storage.",
    *_WORKER,
)
TRAIN_WORKER_MAJOR_FAULTS_TOTAL = counter(
    "train_worker_major_faults_total", "Pages the worker had to fetch from storage while preparing batches.", *_WORKER
)
TRAIN_LOADER_BATCH_SECONDS = histogram(
    "train_loader_batch_seconds",
    "Time to prepare a batch, over all loader workers of the rank.",
    *_RANK,
    buckets=STEP_BUCKETS,
)
TRAIN_QUEUE_DEPTH = gauge("train_queue_depth", "Batches ready and waiting for the trainer.", *_RANK)
TRAIN_QUEUE_CAPACITY = gauge("train_queue_capacity", "Most batches that can wait: workers x prefetch.", *_RANK)
TRAIN_BATCH_DWELL_SECONDS_TOTAL = counter(
    "train_batch_dwell_seconds_total", "Time ready batches waited for the trainer.", *_RANK
)
TRAIN_WORKER_RESTARTS_TOTAL = counter(
    "train_worker_restarts_total", "Loader workers started again (close_mosaic, OOM rebuild).", *_RANK
)
TRAIN_WORKER_DEATHS_TOTAL = counter(
    "train_worker_deaths_total", "Loader workers that ended by a signal or an error.", *_RANK
)
TRAIN_WORKER_DEATH_SIGNAL_TOTAL = counter(
    "train_worker_death_signal_total",
    "The same by what they ended by: a signal (SIGKILL, SIGBUS) or an exit code; absent before the first.",
    *_RANK,
    "signal",
)
TRAIN_WORKER_DECODE_SECONDS_TOTAL = counter(
    "train_worker_decode_seconds_total",
    "The part of the preparation in which the worker read, decoded and resized images; the rest is transforms. "
    "Absent for data sets that do not let it be seen.",
    *_WORKER,
)
TRAIN_VAL_WORKERS = gauge(
    "train_val_workers", "Processes of the validation's loader that stay between validations.", *_RANK
)
TRAIN_SLOW_FILE_SECONDS = gauge(
    "train_slow_file_seconds",
    "The five image files of the run that took the rank's workers longest to read and decode, and how long.",
    *_RANK,
    "file",
)
TRAIN_SLOW_FILE_BYTES = gauge("train_slow_file_bytes", "Size of those files.", *_RANK, "file")
TRAIN_SLOW_FILE_CPU_SECONDS = gauge(
    "train_slow_file_cpu_seconds",
    "The part of that time in which the worker computed (decoded, resized); the rest is reading and waiting for a CPU.",
    *_RANK,
    "file",
)
TRAIN_SLOW_FILE_INFO = info(
    "train_slow_file_info",
    "What those files are: pixels, format, type of the file system they lie on; `repaired` is `true` where one looks "
    "like a JPEG that Ultralytics has written anew because it was corrupt.",
    *_RANK,
    "file",
    "width",
    "height",
    "format",
    "filesystem",
    "repaired",
)

# --- CUDA memory ------------------------------------------------------------------------------------------------------
TRAIN_CUDA_MEMORY_BYTES = gauge(
    "train_cuda_memory_bytes",
    "PyTorch's CUDA memory (allocated, reserved, active, inactive_split; the most of this run in peak_allocated and "
    "peak_reserved, of this epoch in epoch_peak_allocated and epoch_peak_reserved).",
    *_RANK,
    "kind",
)
TRAIN_CUDA_MEMORY_GROWTH_BYTES = gauge(
    "train_cuda_memory_growth_bytes",
    "Change of the allocated memory from the last epoch's end to this one's.",
    *_RANK,
    signed=True,
)
TRAIN_CUDA_ALLOC_RETRIES_TOTAL = counter(
    "train_cuda_alloc_retries_total",
    "Allocations that failed, flushed the cache and were tried again, since batches began.",
    *_RANK,
)
TRAIN_CUDA_OOMS_TOTAL = counter(
    "train_cuda_ooms_total",
    "Out-of-memory errors of the CUDA allocator since batches began: AutoBatch causes its own before.",
    *_RANK,
)

# --- learning ---------------------------------------------------------------------------------------------------------
TRAIN_LOSS = gauge(
    "train_loss", "Mean loss of the epoch so far, by Ultralytics' own name.", *_RANK, "component", signed=True
)
TRAIN_LEARNING_RATE = gauge("train_learning_rate", "Learning rate by parameter group.", *_RANK, "group")
TRAIN_ACCUMULATED_BATCHES = gauge(
    "train_accumulated_batches", "Batches whose gradients make one optimizer step; ramps up at the start.", *_RANK
)
TRAIN_EPOCHS_SINCE_BEST = gauge("train_epochs_since_best", "Epochs since the best validation result.", *_RANK)
TRAIN_PATIENCE_EPOCHS = gauge(
    "train_patience_epochs", "Epochs without a better result after which training stops early.", *_RANK
)
TRAIN_METRIC = gauge("train_metric", "Validation metrics by Ultralytics' own name.", *_RANK, "name", signed=True)
TRAIN_NONFINITE_LOSS_TOTAL = counter(
    "train_nonfinite_loss_total",
    "Times a NaN or an infinite loss was seen; it is looked at every few batches.",
    *_RANK,
)
TRAIN_OOM_BATCH_REDUCTIONS_TOTAL = counter(
    "train_oom_batch_reductions_total", "Times Ultralytics halved the batch after running out of memory.", *_RANK
)
TRAIN_NAN_RECOVERIES_TOTAL = counter(
    "train_nan_recoveries_total", "Times Ultralytics went back to the last checkpoint after a NaN.", *_RANK
)

# --- ourselves, inside the trainer ------------------------------------------------------------------------------------
TRAIN_HOOK_SECONDS_TOTAL = counter("train_hook_seconds_total", "Time spent in yoloscope's own callbacks.", *_RANK)
TRAIN_HOOK_ERRORS_TOTAL = counter("train_hook_errors_total", "Errors caught in yoloscope's own callbacks.", *_RANK)

# --- predictions, validations on their own, exports -------------------------------------------------------------------
PREDICT_FACTS = (
    "mode",
    "task",
    "model",
    "format",
    "precision",
    "imgsz",
    "batch",
    "device",
    "device_name",
    "capability",
    "gpu_uuid",
    "stream",
    "source",
    "conf",
    "max_det",
    "vid_stride",
    "agnostic_nms",
    "saves",
    "ultralytics",
    "torch",
    "cuda",
    "user",
    "pid",
    "slurm_job_id",
    "pod",
)
PREDICT_RUN_INFO = info(
    "predict_run_info",
    "Facts about what a process predicts, validates or exports (mode): those of its latest call, "
    "or of calls that take turns what is the same.",
    *_RANK,
    *PREDICT_FACTS,
)
PREDICT_UP = gauge("predict_up", "1 while the process lives; 0 after its end.", *_RANK)
PREDICT_STATE = gauge(
    "predict_state",
    "1 for the state the run is in: predict, validate or export until its process ends, then finished, "
    "stopped (by Ctrl-C or SIGTERM), failed, killed.",
    *_RANK,
    "state",
)
PREDICT_START_TIMESTAMP_SECONDS = gauge("predict_start_timestamp_seconds", "Unix time of the first call.", *_RANK)
PREDICT_END_TIMESTAMP_SECONDS = gauge(
    "predict_end_timestamp_seconds", "Unix time of an end of the process that is no kill.", *_RANK
)
PREDICT_LAST_BATCH_TIMESTAMP_SECONDS = gauge(
    "predict_last_batch_timestamp_seconds", "Unix time at which the last batch was predicted.", *_RANK
)
PREDICT_UNDER_WAY = gauge(
    "predict_under_way", "Calls under way: 0 while nothing is asked for, or its generator was dropped.", *_RANK
)
PREDICT_CALLS_TOTAL = counter("predict_calls_total", "Calls of predict, track, val or export that began.", *_RANK)
PREDICT_ABANDONED_TOTAL = counter(
    "predict_abandoned_total", "Generators (stream=True) that were dropped before their source had ended.", *_RANK
)
PREDICT_BATCHES_TOTAL = counter("predict_batches_total", "Batches done.", *_RANK)
PREDICT_IMAGES_TOTAL = counter("predict_images_total", "Images done.", *_RANK)
PREDICT_DETECTIONS_TOTAL = counter(
    "predict_detections_total", "Boxes found; those of classifiers and validations are not counted.", *_RANK
)
PREDICT_PHASE_SECONDS_TOTAL = counter(
    "predict_phase_seconds_total",
    "Where the time went: preprocess, inference and postprocess by Ultralytics' own profilers; waiting for the source; "
    "trackers and other callbacks; saving and drawing; models that are made again and again (load); "
    "your own code (user: all the time for which a generator waits, "
    "and the CPU time between two calls), and what else was between calls (idle). Threads add up.",
    *_RANK,
    "phase",
)
PREDICT_IMAGE_SECONDS = histogram(
    "predict_image_seconds",
    "Time from an image's arrival to its result, counted for each image: it waits for all of its batch. Batches that "
    "warm a predictor up are left out.",
    *_RANK,
    buckets=IMAGE_BUCKETS,
)
PREDICT_BATCH_SIZE = gauge("predict_batch_size", "Images in the last batch.", *_RANK)
PREDICT_CUDA_MEMORY_BYTES = gauge(
    "predict_cuda_memory_bytes",
    "PyTorch's CUDA memory of the process (allocated, reserved, peak_allocated, peak_reserved), once a second.",
    *_RANK,
    "kind",
)
PREDICT_HOOK_SECONDS_TOTAL = counter(
    "predict_hook_seconds_total", "Time spent in yoloscope's own callbacks of predictions.", *_RANK
)
_EXPORT = (*_RANK, "format")
EXPORT_SECONDS = gauge("export_seconds", "Time the last export to the format took.", *_EXPORT)
EXPORT_ARTEFACT_BYTES = gauge(
    "export_artefact_bytes", "Size of the file, or of all files of the folder, that it wrote.", *_EXPORT
)

#: The metrics above by their names.
RECORDED = {value.name: value for value in list(globals().values()) if isinstance(value, Metric)}

"""The last hour of runs and GPUs in bounded memory, coarser with age; calculated only when somebody looks."""

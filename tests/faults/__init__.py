"""What an attack from outside has tried, row by row, with real processes of two users: `make faults`."""

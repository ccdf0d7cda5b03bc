"""Everything of a study that belongs to this machine: cores, memory, signals, streams, what a run was made with."""

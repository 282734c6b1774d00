"""Students as C99: one description of the integers, sources that read them, and kernels that a target chooses."""

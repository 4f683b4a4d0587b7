"""HTTP in: thin routes over slots and schemas; errors become statuses here and nowhere else."""

"""The promotion policy: values in, decision with reasons out. No clock, no registry, no bus."""

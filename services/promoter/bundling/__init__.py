"""Bundling: the bundle of a version that MLflow's own client registered."""

"""Baton beside what serves scikit-learn pipelines otherwise, and beside the bare limit: `task bench -- serving`."""

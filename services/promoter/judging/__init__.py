"""Judging: which version a case is about, and whether it becomes champion."""

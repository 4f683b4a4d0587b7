"""The promoter: decides, promotes through MLflow, and relays every change of a champion."""

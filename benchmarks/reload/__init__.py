"""Promotions under steady load."""

"""HTTP: one module per noun; errors become statuses here."""

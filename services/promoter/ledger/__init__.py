"""The ledger in PostgreSQL: what was decided, what became champion, and what the bus knows of it."""

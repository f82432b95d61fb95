"""Several workers: how they meet, and the session that they share."""

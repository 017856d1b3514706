"""Under what a value is kept."""

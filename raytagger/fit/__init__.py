"""Training by Ray Train: one loop for every recipe that trains an encoder."""

"""The endpoint: a bundle behind HTTP, on Ray Serve."""

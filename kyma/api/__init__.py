"""The developers' API at /api/: what a person can do on the pages, for programs."""

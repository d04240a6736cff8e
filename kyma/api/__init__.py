"""The developers' API at /api/: everything that a person can do on the pages, for programs."""

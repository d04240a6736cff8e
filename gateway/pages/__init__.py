"""The pages for people. They call the same rules as /v1."""

"""Pages for people, above the rules that /v1 keeps too."""

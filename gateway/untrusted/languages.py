"""The languages that are highlighted, under each of their names."""

_HIGHLIGHTED = """
    bash c c++ cpp css diff docker dockerfile go golang html ini java javascript js json jsx
    kotlin lua make makefile php py python r rb rs ruby rust sh shell sql swift toml ts tsx
    typescript xml yaml yml
"""
HIGHLIGHTED = frozenset(_HIGHLIGHTED.split())

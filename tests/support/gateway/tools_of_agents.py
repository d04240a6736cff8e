"""The tools that a coding agent offers in a Responses request, beside its functions."""

PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Changes files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin"'},
}
FREE = {"type": "custom", "name": "note"}
CRM = {
    "type": "namespace",
    "name": "mcp__crm__",
    "description": "Customers.",
    "tools": [
        {"type": "function", "name": "find", "parameters": {"type": "object"}, "strict": False},
        {"type": "custom", "name": "sql", "description": "Asks."},
    ],
}

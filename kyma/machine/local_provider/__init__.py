"""A real, small provider that comes with Kyma: SmolLM2-135M on llama.cpp, spoken to over HTTP.

To the gateway it is a provider like any other (base URL ``http://host:port/v1``). It runs as its
own process, `python -m kyma.machine.local_provider`, and imports neither Django nor anything else
of the project, so that it starts in about a second and cannot reach what it has no business with.
"""

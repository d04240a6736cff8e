"""A small real provider that comes with Kyma: SmolLM2-135M on llama.cpp, served over HTTP.

To the gateway it is a provider like any other (base URL ``http://host:port/v1``). It runs as its
own process, `python -m kyma.machine.local_provider`. It imports neither Django nor other code of
the project, so that it starts in about a second and can't reach the project's data.
"""

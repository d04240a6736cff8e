"""Settings of the REST framework behind /api/ that no environment changes."""

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "kyma.api.authentication.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["kyma.api.scopes.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": [
        "kyma.api.throttling.ByPerson",
        "kyma.api.throttling.ByKey",
        "kyma.api.throttling.ByAddress",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["kyma.api.json_only.JsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "kyma.api.json_only.AlwaysJson",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "kyma.api.description.Description",
    "EXCEPTION_HANDLER": "kyma.api.problems.handle",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Kyma: the developers' API",
    "DESCRIPTION": "Account, keys, usage, requests and chats for programs. Models are at /v1.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "kyma.api.description.add_problems",
    ],
}

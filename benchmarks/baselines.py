"""The baselines: nginx as a bare reverse proxy, and LiteLLM's proxy without a database.

Neither does as much as Kyma: nginx forwards; LiteLLM checks one key and stores nothing. LiteLLM is
installed into its own environment, so that its packages and Kyma's don't mix.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.gateway import ROOT
from benchmarks.load import Target
from benchmarks.measurements import Subject
from benchmarks.processes import MEASURED_CORE, free_port, running, tree_cpu_s
from benchmarks.upstream import SCRIPTS

ENVIRONMENT = ROOT / ".venv-bench"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
MASTER_KEY = "sk-bench"

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream provider {{ server {provider}; keepalive 128; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://provider; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_buffering off;
        }}
    }}
}}
"""


class CannotInstall(Exception):
    """The bench's own environment can't be made; `str(error)` says why."""


@contextlib.contextmanager
def nginx(upstream_url: str, folder: Path) -> Iterator[Subject]:
    port, configuration = free_port(), folder / "nginx.conf"
    provider = urlsplit(upstream_url).netloc
    configuration.write_text(NGINX.format(folder=folder, port=port, provider=provider))
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c"]
    command.append(str(configuration))
    with running(command, core=MEASURED_CORE, port=port, log=folder / "nginx.log") as pid:
        yield Subject("nginx", Target(f"http://127.0.0.1:{port}"), pid)


@contextlib.contextmanager
def litellm(upstream_url: str, folder: Path) -> Iterator[Subject]:
    """Run LiteLLM. Raises CannotInstall."""
    install()
    port, configuration = free_port(), folder / "litellm.json"
    configuration.write_text(json.dumps(_litellm_settings(upstream_url)))
    command = [
        *(str(ENVIRONMENT / "bin" / "litellm"), "--config", str(configuration)),
        *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
        *("--telemetry", "False"),
    ]
    environment = {
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # Otherwise it is fetched at each start.
        "LITELLM_LOG": "ERROR",
    }
    log = folder / "litellm.log"
    with running(command, core=MEASURED_CORE, port=port, log=log, env=environment) as pid:
        yield Subject(
            "LiteLLM", Target(f"http://127.0.0.1:{port}", MASTER_KEY), pid, read_cpu=tree_cpu_s
        )


def _litellm_settings(upstream_url: str) -> dict:
    """Return its configuration as JSON, which is valid YAML."""
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"{upstream_url}/v1",
                "api_key": "none",
            },
        }
        for name in SCRIPTS
    ]
    return {"model_list": models, "general_settings": {"master_key": MASTER_KEY}}


def install() -> None:
    """Make the environment, unless it exists. Raises CannotInstall."""
    done = ENVIRONMENT / "bench.stamp"
    if done.exists() and done.read_text() == REQUIREMENTS.read_text():
        return
    print("Installing LiteLLM and py-spy into .venv-bench: a minute or two", flush=True)
    python = str(ENVIRONMENT / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [python, "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)],
    ):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise CannotInstall(made.stderr.strip()[-300:])
    done.write_text(REQUIREMENTS.read_text())


def litellm_version() -> str:
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "show", "litellm"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return shown.partition("Version: ")[2].partition("\n")[0]

import contextlib
import os
import socket
import sys
import time

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection

from accounts import mailbox
from gateway.log import partitions
from kyma import schema
from kyma.demo import making
from kyma.machine import first_run, programs, welcome
from kyma.machine.processes import RunFile
from kyma.machine.supervisor import Stopped, StopSignals, Supervisor, SupervisorError, only_one

CHECK_INTERVAL_S = 0.2
WRITABLE_BY_ALL = 0o002


class Command(BaseCommand):
    help = "Prepare and run all of Kyma on this machine, until Ctrl-C."

    def add_arguments(self, parser):
        parser.add_argument("--port", type=int, default=8000, help="of the web process")
        parser.add_argument(
            "--demo", action="store_true", help=f"with {making.EMAIL}, who has a past"
        )

    def handle(self, *, port, demo, **options):
        signals = StopSignals()
        try:
            refuse_production()
            make_private_folders()
            with only_one(settings.STATE_DIR / "up.lock"):
                self._run(port, signals, demo)
        except Stopped:
            self._say("Kyma has stopped.")
        except SupervisorError as error:
            sys.exit(str(error))

    def _run(self, port: int, signals: StopSignals, with_demo: bool) -> None:
        run_file = RunFile(settings.STATE_DIR / "run.json", f"KYMA_STATE_DIR={settings.STATE_DIR}")
        if count := run_file.stop_stale():
            self._say(f"Stopped what an earlier run had left behind ({count} processes).")
        listener = programs.listen(
            port, remedy=f"Stop it, or add to your make command: PORT={port + 1}"
        )
        programs.check_inner_ports()
        supervisor = Supervisor(
            directory=settings.BASE_DIR,
            logs=settings.STATE_DIR / "log",
            environment={**os.environ, "KYMA_STATE_DIR": str(settings.STATE_DIR)},
            run_file=run_file,
        )
        try:
            self._start(supervisor, listener)
            demo = self._make_demo() if with_demo else ""
            login = first_run.ensure_admin(settings.STATE_DIR / "first_run.json")
            programs.wait_until_ready(supervisor, port)
            self._say(welcome.text(port, login, first_run.first_key(login)) + demo)
            self._watch(supervisor, signals)
        except SupervisorError as error:
            self.stderr.write(str(error))
            sys.exit(1)
        finally:
            signals.stopping()
            with contextlib.suppress(OSError):  # The terminal may be gone.
                self._say("Stopping. Open streams run to their end; Ctrl-C again to hurry.")
            supervisor.stop(hurry=signals.hurry)

    def _watch(self, supervisor: Supervisor, signals: StopSignals) -> None:
        """Until one of the programs ends; meanwhile, say which mails there are."""
        said = {mail.id for mail in mailbox.mails()}
        while True:
            supervisor.check()
            signals.check()
            for mail in mailbox.mails():
                if mail.id not in said:  # Two processes may write theirs in either order.
                    self._say(mail.line)
                    said.add(mail.id)
            time.sleep(CHECK_INTERVAL_S)

    def _start(self, supervisor: Supervisor, listener: socket.socket) -> None:
        """Start each program as soon as what it needs is there, and prepare the rest meanwhile."""
        self._say(f"Starting Kyma. Its state lies in {settings.STATE_DIR}")
        if redis_port := programs.redis_port():
            supervisor.start(programs.redis(redis_port))
        if provider_port := programs.local_provider_port():
            supervisor.start(programs.local_provider(provider_port))
        self._migrate()
        supervisor.start(programs.web(listener))
        listener.close()  # The web process has it, and must be able to stop listening.
        supervisor.start(programs.worker())
        supervisor.start(programs.beat())
        partitions.ensure(connection)
        call_command("load_catalog", stdout=self.stdout)

    def _make_demo(self) -> str:
        """Make the demo's account, and return the text that says how to sign in there."""
        self._say(f"Making {making.EMAIL}, with {making.DAYS} days of usage …")
        return f"\n{making.make().summary}\n"

    def _migrate(self) -> None:
        for alias in settings.DATABASES:
            try:
                missing = schema.unapplied(alias)
            except OperationalError as error:
                raise SupervisorError(f"The database can't be reached: {error}") from error
            if not missing:
                continue
            if any(name.startswith("djstripe.") for name in missing):
                self._say("Making the tables, once: about 40 s, most of it for dj-stripe's 62 …")
            labels = ["keyring"] if alias == "keyring" else []
            call_command("migrate", *labels, database=alias, interactive=False, verbosity=0)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def refuse_production() -> None:
    if settings.PRODUCTION:
        raise SupervisorError(
            "`manage.py up` is for trying Kyma on one machine. With KYMA_PRODUCTION=true run "
            "`manage.py migrate`, `manage.py web`, and Celery's workers and beat, each apart."
        )


def make_private_folders() -> None:
    """The state folder and what is in it, for nobody else's eyes; so is what is written later."""
    os.umask(0o077)
    folder = settings.STATE_DIR
    for inner in (folder / "log", settings.STATIC_ROOT):
        inner.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & WRITABLE_BY_ALL:
        raise SupervisorError(f"Everybody may write to {folder}. Give Kyma a folder of its own.")
    folder.chmod(0o700)

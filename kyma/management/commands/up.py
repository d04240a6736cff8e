import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection

from accounts import mailbox
from gateway.log import partitions
from kyma import schema
from kyma.demo import making
from kyma.machine import beside, first_run, programs, welcome
from kyma.machine.processes import RunFile
from kyma.machine.supervisor import (
    AlreadyRuns,
    Stopped,
    StopSignals,
    Supervisor,
    SupervisorError,
    only_one,
)

CHECK_INTERVAL_S = 0.2
WRITABLE_BY_ALL = 0o002
# A start changes its inner ports at most this often. The variable counts the changes so far.
MAX_PORT_CHANGES = 5
PORT_CHANGES = "KYMA_UP_PORT_CHANGES"


class Command(BaseCommand):
    help = "Prepare and run all of Kyma on this machine, until Ctrl-C."
    _port_changes = 0
    _with_demo = False

    def add_arguments(self, parser):
        parser.add_argument(
            "--port", type=int, default=beside.DEFAULT_PORT, help="of the web process"
        )
        parser.add_argument(
            "--demo", action="store_true", help=f"with {making.EMAIL}, who has a past"
        )

    def handle(self, *, port, demo, **options):
        self._port_changes = int(os.environ.pop(PORT_CHANGES, "0"))
        self._with_demo = demo
        signals = StopSignals()
        try:
            refuse_production()
            if beside.began_before(port):
                self._start_on(beside.folder_of(port))
            make_private_folders()
            try:
                with only_one(settings.STATE_DIR / "up.lock", port):
                    self._run(port, signals)
            except AlreadyRuns as running:
                self._start_beside(running, port)
        except Stopped:
            self._say("Kyma has stopped.")
        except SupervisorError as error:
            sys.exit(str(error))

    def _run(self, port: int, signals: StopSignals) -> None:
        run_file = RunFile(settings.STATE_DIR / "run.json", f"KYMA_STATE_DIR={settings.STATE_DIR}")
        if count := run_file.stop_stale():
            self._say(f"Stopped what an earlier run had left behind ({count} processes).")
        with listen(port) as listener:
            if programs.replace_taken_ports():
                self._start_on_other_ports()
            supervisor = Supervisor(
                directory=settings.BASE_DIR,
                logs=settings.STATE_DIR / "log",
                environment={**os.environ, "KYMA_STATE_DIR": str(settings.STATE_DIR)},
                run_file=run_file,
            )
            was_ready = self._supervise(supervisor, listener, signals)
        if not was_ready and not signals.hurry() and programs.replace_taken_ports():
            self._start_on_other_ports()
        sys.exit(1)

    def _supervise(
        self, supervisor: Supervisor, listener: socket.socket, signals: StopSignals
    ) -> bool:
        """Run the programs until one fails. Returns whether Kyma was ready before."""
        was_ready = False
        port = listener.getsockname()[1]
        try:
            self._start(supervisor, listener)
            demo = self._make_demo() if self._with_demo else ""
            login = first_run.ensure_admin(settings.STATE_DIR / "first_run.json")
            programs.wait_until_ready(supervisor, port)
            was_ready = True
            self._say(welcome.text(port, login, first_run.first_key(login)) + demo)
            self._watch(supervisor, signals)
        except SupervisorError as error:
            self.stderr.write(str(error))
        finally:
            signals.stopping()
            with contextlib.suppress(OSError):  # The terminal may be gone.
                self._say("Stopping. Open streams run to their end; Ctrl-C again to hurry.")
            supervisor.stop(hurry=signals.hurry)
        return was_ready

    def _start_beside(self, running: AlreadyRuns, port: int) -> NoReturn:
        """Start on the own folder of `port`. Raises SupervisorError if `port` may have none."""
        if not beside.is_possible(port) or running.port in (None, port):
            raise SupervisorError(f"{running} {beside.remedy(port, running.port)}")
        listen(port).close()  # Make no folder in vain: a later start would use it.
        self._start_on(beside.folder_of(port))

    def _start_on(self, folder: Path) -> NoReturn:
        self._start_over(KYMA_STATE_DIR=str(folder))

    def _start_on_other_ports(self) -> NoReturn:
        """Start again with the ports that are remembered by now."""
        if self._port_changes >= MAX_PORT_CHANGES:
            raise SupervisorError(
                f"Other programs took {MAX_PORT_CHANGES} times a port that had been free. "
                "Start Kyma again."
            )
        self._say("Another program has taken an inner port: Kyma starts with others.")
        self._start_over(**{PORT_CHANGES: str(self._port_changes + 1)})

    def _start_over(self, **environment: str) -> NoReturn:
        """Become a new `manage.py up`, because a process reads its settings only once."""
        self.stdout.flush()
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(command[0], command, {**os.environ, **environment})  # noqa: S606 - this program

    def _watch(self, supervisor: Supervisor, signals: StopSignals) -> None:
        """Print new mails until a program ends, which raises SupervisorError."""
        said = {mail.id for mail in mailbox.mails()}
        while True:
            supervisor.check()
            signals.check()
            for mail in mailbox.mails():
                if mail.id not in said:  # Not by time: two processes write in any order.
                    self._say(mail.line)
                    said.add(mail.id)
            time.sleep(CHECK_INTERVAL_S)

    def _start(self, supervisor: Supervisor, listener: socket.socket) -> None:
        """Start each program as soon as all that it needs is there."""
        self._say(f"Starting Kyma. Its state lies in {settings.STATE_DIR}")
        if redis_port := programs.redis_port():
            supervisor.start(programs.redis(redis_port))
        if provider_port := programs.local_provider_port():
            remedy = "Start Kyma again."
            with programs.listen(provider_port, remedy=remedy) as provider_listener:
                supervisor.start(programs.local_provider(provider_listener))
        self._migrate()
        # Before the web process, which would send prompts to the local provider's last address.
        call_command("load_catalog", stdout=self.stdout)
        supervisor.start(programs.web(listener))
        listener.close()  # The web process has it, and must be able to stop listening.
        supervisor.start(programs.worker())
        supervisor.start(programs.beat())
        partitions.ensure(connection)

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


def listen(port: int) -> socket.socket:
    remedy = f"Start Kyma on another: make … PORT={port + 1}"
    return programs.listen(port, remedy=remedy)


def refuse_production() -> None:
    if settings.PRODUCTION:
        raise SupervisorError(
            "`manage.py up` is for trying Kyma on one machine. With KYMA_PRODUCTION=true run "
            "`manage.py migrate`, `manage.py web`, and Celery's workers and beat, each apart."
        )


def make_private_folders() -> None:
    """Make the state folder and those inside it. Nobody else may read them or any later file."""
    os.umask(0o077)
    folder = settings.STATE_DIR
    for inner in (folder / "log", settings.STATIC_ROOT):
        inner.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & WRITABLE_BY_ALL:
        raise SupervisorError(f"Everybody may write to {folder}. Give Kyma a folder of its own.")
    folder.chmod(0o700)

"""`manage.py verify_receipt`, and the same in a few lines of anybody's own."""

import json
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from gateway.receipts import keys as receipt_keys
from gateway.receipts.receipt import signed_receipt
from tests.gateway.receipts.test_receipts import SEEDS, resigned, row_of
from tests.support.gateway.receipt_page import example
from tests.support.live import ROOT


@pytest.fixture(autouse=True)
def _keys(settings):
    settings.RECEIPT_SIGNING_KEYS = f"1:{SEEDS[0]}"


@pytest.fixture
def folder(tmp_path):
    """Holds what a customer has fetched: receipt.json and keys.json."""
    write(
        tmp_path / "receipt.json", {"data": {"id": "x", "receipt": signed_receipt(row_of(), None)}}
    )
    write(tmp_path / "keys.json", receipt_keys.published())
    return tmp_path


def write(path, value) -> None:
    path.write_text(json.dumps(value))


def put(folder, **members) -> None:
    """Change members of the receipt, and let Kyma sign it."""
    receipt = {**signed_receipt(row_of(), None), **members}
    write(folder / "receipt.json", resigned(receipt))


def verify(folder, *options) -> None:
    call_command("verify_receipt", str(folder / "receipt.json"), *options)


def test_it_says_what_it_checked(folder, capsys):
    verify(folder)
    *checked, verdict = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok    ") for line in checked)
    subjects = [line.removeprefix("ok    ").partition(":")[0] for line in checked]
    assert subjects == [
        "signature",
        "input",
        "cached_input",
        "output",
        "request",
        "image",
        "sum of the lines",
        "capped by the hold",
        "total (the outcome is finished)",
    ]
    assert verdict.endswith("is right.")


def test_a_receipt_alone_is_taken_too(folder, capsys):
    write(folder / "receipt.json", signed_receipt(row_of(), None))
    verify(folder)
    assert capsys.readouterr().out.endswith("is right.\n")


def test_the_published_keys_are_enough(folder, settings, capsys):
    settings.RECEIPT_SIGNING_KEYS = f"1:{SEEDS[1]}"
    verify(folder, "--keys", str(folder / "keys.json"))
    with pytest.raises(SystemExit):
        verify(folder)
    assert "is not among the published ones." in capsys.readouterr().out


def test_a_wrong_one_exits_with_1_and_says_why(folder, capsys):
    put(folder, total_nano=1)
    with pytest.raises(SystemExit) as exit:
        verify(folder)
    assert exit.value.code == 1
    told = capsys.readouterr()
    assert "WRONG total (the outcome is finished): it is 3219 nano-dollars, but" in told.out
    assert told.err.endswith("receipt.json: this receipt is wrong.\n")


@pytest.mark.parametrize("text", ["", "[]", "nope", "[" * 5000, "\ufeff"])
def test_what_is_no_json_object_is_told_so(folder, text):
    (folder / "receipt.json").write_text(text)
    with pytest.raises(CommandError, match="holds no JSON"):
        verify(folder)


@pytest.mark.parametrize("value", [{}, {"data": {}}, {"data": {"receipt": {"schema": "other"}}}])
def test_what_is_no_receipt_is_told_so(folder, value, capsys):
    write(folder / "receipt.json", value)
    with pytest.raises(SystemExit):
        verify(folder)
    assert "WRONG It is not a receipt of the schema kyma.receipt/1." in capsys.readouterr().out


def test_a_file_that_is_not_there_is_told_so(folder):
    with pytest.raises(CommandError, match="can't be read: No such file"):
        verify(folder, "--keys", str(folder / "none.json"))


def test_what_holds_no_keys_is_told_so(folder):
    with pytest.raises(CommandError, match="holds no keys"):
        verify(folder, "--keys", str(folder / "receipt.json"))


def test_it_needs_neither_a_secret_nor_a_database(folder):
    """As on the machine of somebody who has nothing but the program and two files."""
    command = [sys.executable, "manage.py", "verify_receipt", str(folder / "receipt.json")]
    run = subprocess.run(
        [*command, "--keys", str(folder / "keys.json")],
        cwd=ROOT,
        env={"KYMA_PRODUCTION": "true", "KYMA_STATE_DIR": str(folder / "state")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert not (folder / "state").exists()


# --- The example of the page


def run_example(folder) -> subprocess.CompletedProcess:
    """The page's example, by a Python that sees neither this project nor its settings."""
    return subprocess.run(
        [sys.executable, "-I", "-c", example("verify")],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
    )


def test_the_example_of_the_page_checks_a_receipt(folder):
    run = run_example(folder)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("3219 nano-dollars for request ")


def test_the_example_of_the_page_is_short_and_needs_one_package():
    lines = [line for line in example("verify").splitlines() if line.strip()]
    assert len(lines) <= 16
    imports = [line for line in lines if "import" in line]
    assert imports == [
        "import base64, json",
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey",
    ]


def test_the_example_of_the_page_finds_a_change(folder):
    changed = {**signed_receipt(row_of(), None), "total_nano": 1}
    write(folder / "receipt.json", {"data": {"receipt": changed}})
    assert "InvalidSignature" in run_example(folder).stderr


def test_the_example_of_the_page_finds_a_wrong_total(folder):
    put(folder, total_nano=1)
    receipt = json.loads((folder / "receipt.json").read_text())
    write(folder / "receipt.json", {"data": {"receipt": receipt}})
    assert "AssertionError" in run_example(folder).stderr

"""Whatever becomes of what a command prints: it delivers, and its exit code tells of the delivery."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from digests import tree

from coregstack import cli
from coregstack.cli.console import ProgressBar
from coregstack.cli.signals import stopping_in_order
from coregstack.cli.streams import SureStream

STREAMS = {
    "closed output": ">&-",
    "closed error": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "full output": ">/dev/full",
    "full error": "2>/dev/full",
    "both full": ">/dev/full 2>&1",
    "no reader": "| true",
}
"""How a shell starts a command, by what is amiss."""


def command(*arguments: str, to: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, whose streams a shell has set."""
    # the code of the command, not of what reads from it
    words = f'set -o pipefail; "$@" {to}'
    call = ["bash", "-c", words, "bash", sys.executable, "-m", "coregstack", *arguments]
    return subprocess.run(
        call, capture_output=True, env=os.environ | variables, timeout=300, check=False,
        encoding=variables.get("PYTHONIOENCODING", "utf-8").split(":")[0],
    )  # fmt: skip


def aligned(sound: SimpleNamespace, output: Path, *more: str) -> list[str]:
    """Words of a command that aligns the sound scenes."""
    return ["align", str(sound.anchor), str(sound.good), "--anchor", "anchor", "--output", str(output), *more]


@pytest.mark.parametrize("amiss", STREAMS)
def test_a_run_delivers_whatever_its_streams_are(amiss: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = command(*aligned(sound, output, "--verbose"), to=STREAMS[amiss])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert (output / "report.html").is_file()
    if amiss == "full output":
        assert "standard output cannot be written" in done.stderr


def test_problems_are_told_by_the_exit_code_alone_where_there_is_no_stream(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_text("no raster")
    call = [*aligned(sound, tmp_path / "out"), "--no-report"]
    assert command(*call[:2], str(bad), *call[2:], to=">/dev/full 2>&-").returncode == 3
    assert command(*call[:2], "--anchor", "nobody", *call[5:], to=">&- 2>/dev/full").returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_a_stream_cannot_hold_are_told_with_escapes(
    encoding: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    scene = tmp_path / "åkermark 田.tif"
    scene.write_bytes(sound.good.read_bytes())
    call = ["align", str(sound.anchor), str(scene), "--anchor", "anchor", "--output", str(tmp_path / "out")]
    done = command(*call, "--no-report", PYTHONIOENCODING=f"{encoding}:strict")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = {"ascii": r"\xe5kermark \u7530", "latin-1": r"kermark \u7530", "utf-8": "åkermark 田"}
    assert told[encoding] in done.stdout
    assert (tmp_path / "out" / "åkermark 田_coreg.tif").is_file()


@pytest.mark.parametrize(("code", "to"), [(0, ""), (141, ">/dev/full"), (141, "| true")])
def test_a_command_that_only_prints_says_by_its_code_that_it_could_not(
    code: int, to: str, sound: SimpleNamespace
) -> None:
    done = command("inspect", str(sound.folder), to=to)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


class Failing(io.StringIO):
    """A terminal that is gone, or text that is closed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("closed")])
def test_a_terminal_that_is_gone_stops_no_run(
    error: Exception, sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nobody but the stream tells: the bar is told of each item in the middle of the run
    monkeypatch.setattr(sys, "stderr", Failing(error))
    assert cli.main(aligned(sound, tmp_path / "out", "--no-report")) == 0
    assert {name: tree(tmp_path / "out")[name] for name in sound.digests} == sound.digests
    with pytest.raises(type(error)):
        ProgressBar(Failing(error))(1, 2)


def test_a_stream_keeps_its_first_failure_and_goes_on() -> None:
    stream = SureStream(Failing(OSError(28, "No space left on device")))
    print("a line", file=stream)
    stream.flush()
    assert str(stream.failure) == "[Errno 28] No space left on device"
    closed = io.StringIO()
    closed.close()
    assert not SureStream(closed).isatty()


# --- signals


def waiting(path: Path) -> None:
    """Wait until a run has begun to write."""
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)


SLOW = """
import sys, time
from coregstack.cli import main
from coregstack.export import files
real = files.flush
def flush(path):
    time.sleep(1)
    real(path)
files.flush = flush
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_run_that_is_asked_to_stop_ends_in_order(name: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    number, output = getattr(signal, name), tmp_path / "out"
    call = [sys.executable, "-c", SLOW, *aligned(sound, output, "--no-report")]
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL),
    )  # fmt: skip
    waiting(output / ".coregstack" / "lock")
    time.sleep(0.5)
    process.send_signal(number)
    process.send_signal(number if number != signal.SIGINT else signal.SIGCONT)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 128 + number
    assert "interrupted; run the same command again" in told
    assert "Traceback" not in told
    assert not list(output.rglob("*.part"))
    assert (output / ".coregstack" / "lock").read_bytes() == b""
    assert cli.main(aligned(sound, output, "--no-report")) == 0
    assert {key: tree(output)[key] for key in sound.digests} == sound.digests


def test_signals_that_are_ignored_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(*_: object) -> None:
        pass

    kept: list[Callable[..., object] | int] = [signal.SIG_IGN, mine]
    for handler in kept:
        before = signal.signal(signal.SIGHUP, handler)
        try:
            with stopping_in_order():
                assert signal.getsignal(signal.SIGHUP) is handler
        finally:
            signal.signal(signal.SIGHUP, before)

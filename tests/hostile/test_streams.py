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
from apart import NO_READER, commanded, ended, started
from digests import tree

from coregstack import cli
from coregstack.cli.console import ProgressBar
from coregstack.cli.signals import stopping_in_order
from coregstack.cli.streams import SureStream
from coregstack.export import files

AMISS: dict[str, dict[str, str | None]] = {
    "closed output": {"output": None},
    "closed error": {"error": None},
    "full output": {"output": "/dev/full"},
    "full error": {"error": "/dev/full"},
    "both full": {"output": "/dev/full", "error": "/dev/full"},
}
"""What is amiss with the streams of a process: other places than files, None for a closed one."""


def command(*arguments: str, to: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, whose streams a shell has set."""
    # the code of the command, not of what reads from it
    words = f'set -o pipefail; "$@" {to}'
    call = ["bash", "-c", words, "bash", sys.executable, "-m", "coregstack", *arguments]
    return subprocess.run(call, capture_output=True, timeout=300, check=False, text=True)


def aligned(sound: SimpleNamespace, output: Path, *more: str) -> list[str]:
    """Words of a command that aligns the sound scenes."""
    return ["align", str(sound.anchor), str(sound.good), "--anchor", "anchor", "--output", str(output), *more]


def forked(
    folder: Path, *arguments: str, encoding: str = "utf-8", **amiss: str | None
) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in a process that need not load the package."""
    files = {name: folder / f"{name}.txt" for name in ("output", "error")}
    places = {name: str(path) for name, path in files.items()} | amiss
    code = ended(started(commanded, arguments, {1: places["output"], 2: places["error"]}, encoding))
    told = [path.read_text(encoding) if path.exists() else "" for path in files.values()]
    return code, told[0], told[1]


@pytest.mark.parametrize("to", ["<&- >&- 2>&-", "| true"])
def test_a_run_delivers_whatever_streams_a_shell_gives_it(
    to: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = command(*aligned(sound, output, "--verbose"), to=to)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert (output / "report.html").is_file()


@pytest.mark.parametrize("amiss", AMISS)
def test_a_run_delivers_whatever_its_streams_are(amiss: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    code, _, error = forked(tmp_path, *aligned(sound, output, "--verbose"), **AMISS[amiss])
    assert code == 0, error
    assert "Traceback" not in error
    assert "Exception" not in error
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert (output / "report.html").is_file()
    if amiss == "full output":
        assert "standard output cannot be written" in error


def test_problems_are_told_by_the_exit_code_alone_where_there_is_no_stream(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_text("no raster")
    call = [*aligned(sound, tmp_path / "out"), "--no-report"]
    full = "/dev/full"
    assert forked(tmp_path, *call[:2], str(bad), *call[2:], output=full, error=None)[0] == 3
    assert forked(tmp_path, *call[:2], "--anchor", "nobody", *call[5:], output=None, error=full)[0] == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_a_stream_cannot_hold_are_told_with_escapes(
    encoding: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    scene = tmp_path / "åkermark 田.tif"
    scene.write_bytes(sound.good.read_bytes())
    call = ["align", str(sound.anchor), str(scene), "--anchor", "anchor", "--output", str(tmp_path / "out")]
    code, output, error = forked(tmp_path, *call, "--no-report", encoding=encoding)
    assert (code, error) == (0, "")
    told = {"ascii": r"\xe5kermark \u7530", "latin-1": r"kermark \u7530", "utf-8": "åkermark 田"}
    assert told[encoding] in output
    assert (tmp_path / "out" / "åkermark 田_coreg.tif").is_file()


@pytest.mark.parametrize(
    ("code", "amiss"), [(0, {}), (141, {"output": "/dev/full"}), (141, {"output": NO_READER})]
)
def test_a_command_that_only_prints_says_by_its_code_that_it_could_not(
    code: int, amiss: dict[str, str | None], sound: SimpleNamespace, tmp_path: Path
) -> None:
    ended_by, _, error = forked(tmp_path, "inspect", str(sound.folder), **amiss)
    assert ended_by == code
    assert "Traceback" not in error


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


def slowly(number: int, arguments: list[str], error: str) -> None:
    """End this process as a command does that takes its time to write and may be stopped by a signal."""
    flush = files.flush

    def flush_slowly(path: Path) -> None:
        time.sleep(0.5)
        flush(path)

    files.flush = flush_slowly
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    commanded(arguments, {2: error})


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_run_that_is_asked_to_stop_ends_in_order(name: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    number, output = getattr(signal, name), tmp_path / "out"
    process = started(slowly, number, aligned(sound, output, "--no-report"), str(tmp_path / "error.txt"))
    waiting(output / ".coregstack" / "lock")
    time.sleep(0.2)
    assert process.pid is not None
    os.kill(process.pid, number)
    os.kill(process.pid, number if number != signal.SIGINT else signal.SIGCONT)
    assert ended(process) == 128 + number
    told = (tmp_path / "error.txt").read_text()
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

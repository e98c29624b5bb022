"""Files behind addresses, read in ranges: requests, retries, and what is said where a server refuses.

obstore speaks to web servers and object stores; GDAL is handed bytes, and opens nothing itself. Texts of obstore's
errors hold whole addresses with their secrets: no error is chained to one, and none is logged.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

from coregstack.errors import CoregError, InvalidRequest, MissingFile, UnreadableFile
from coregstack.untrusted.addresses import WEB, Address, without_secrets
from coregstack.untrusted.limits import FILES, REQUEST_SECONDS

T = TypeVar("T")

log = logging.getLogger(__name__)

_BLOCK = 2**16
"""Bytes that are kept together; the first are fetched when a file is opened, and hold most headers."""
_AHEAD = 64
"""Blocks that are fetched at once, at most."""
_KEPT = 4 * _AHEAD
"""Blocks of an open file that stay in memory."""
_RETRIES = 3

_STATUS = re.compile(r"status: (\d{3})|[Ss]tatus code: (\d{3})")
_ENVIRONMENT = ("AWS_", "GOOGLE_", "AZURE_")
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")
_S3_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_GS_KEYS = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY")
_GS_FILE = Path(".config", "gcloud", "application_default_credentials.json")
_AZURE_KEYS = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
)
_WHERE_FROM = {
    "s3": "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or, where boto3 is installed, from "
    "profiles (AWS_PROFILE) and roles",
    "gs": "Credentials come from GOOGLE_APPLICATION_CREDENTIALS or gcloud auth application-default login",
    "az": "The account comes from AZURE_STORAGE_ACCOUNT_NAME, its credentials from AZURE_STORAGE_ACCOUNT_KEY, "
    "AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID with its secret",
}


def require_obstore() -> None:
    """Make sure that addresses can be read here.

    Raises
    ------
    InvalidRequest
        If obstore is not installed.
    """
    if find_spec("obstore") is None:
        raise InvalidRequest(
            "Addresses are read by obstore, which is not installed: pip install 'coregstack[cloud]'."
        )


def version_of(address: Address) -> tuple[int, str]:
    """Bytes of a file, and what changes when it does as far as its server tells: a tag, or else a time.

    Raises
    ------
    MissingFile, UnreadableFile, InvalidRequest
        As `RemoteFile`.
    """

    def ask() -> tuple[int, str]:
        found = _range(address, 0, 1)
        # the answer's body is not read
        return _identity((found or _answer(address, {})).meta)

    return asked(address, ask)


def objects_below(address: Address, folder: str) -> Iterator[str]:
    """Keys of all objects of a bucket that lie below a folder of it.

    Raises
    ------
    UnreadableFile, MissingFile, InvalidRequest
        If it cannot be listed, or holds more than ``COREGSTACK_MAX_FILES``.
    """
    import obstore

    def ask() -> list[str]:
        found: list[str] = []
        for some in obstore.list(store_of(address), prefix=folder or None):
            found += [one["path"] for one in some]
            if len(found) > FILES():
                raise UnreadableFile(
                    f"{address!r} stands for more than {FILES()} objects. Name a folder of fewer, or raise "
                    f"{FILES.variable}."
                )
        return found

    yield from asked(address, ask)


class RemoteFile:
    """A file behind an address, of which ranges are fetched when they are read.

    Parameters
    ----------
    address : Address
        Of the file; its first bytes are fetched at once.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is none, or the server does not give it.
    InvalidRequest
        If what it takes to ask is not there.
    """

    size: int
    """Bytes of the file."""
    version: str
    """What changes when the file does, as far as its server tells."""
    failure: CoregError | None
    """The first request that failed while GDAL read, which is told of no reasons."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.failure = None
        self.size, self.version = -1, ""
        self._lock = threading.RLock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next, self._window = 0, 1
        self._whole: IO[bytes] | None = None
        self._fetch(0, _BLOCK)

    def reader(self) -> io.BufferedIOBase:
        """The file as one to read and seek in."""
        return _Reader(self, quiet=False)

    def opener(self, path: str, mode: str = "rb", **_: Any) -> io.BufferedIOBase:
        """What rasterio hands to GDAL: this file under its own name, and no other."""
        if path != self.address or "r" not in mode or "+" in mode:
            raise FileNotFoundError(path)
        return _Reader(self, quiet=True)

    def read_at(self, start: int, size: int) -> bytes:
        """Bytes from a place on; fewer at the end of the file."""
        end = min(start + size, self.size)
        parts = []
        with self._lock:
            while start < end:
                if self._whole is not None:
                    self._whole.seek(start)
                    parts.append(self._whole.read(end - start))
                    break
                # no more at once than is kept
                stop = min(end, (start // _BLOCK + _AHEAD) * _BLOCK)
                parts.append(self._part(start, stop))
                start = stop
        return b"".join(parts)

    def close(self) -> None:
        """Let go of what was fetched."""
        self._blocks.clear()
        if self._whole is not None:
            self._whole.close()

    def _part(self, start: int, end: int) -> bytes:
        first, last = start // _BLOCK, -(-end // _BLOCK)
        missing = [k for k in range(first, last) if k not in self._blocks]
        if missing:
            # who reads on gets more at once
            self._window = min(2 * self._window, _AHEAD) if missing[0] == self._next else 1
            stop = max(missing[-1] + 1, missing[0] + self._window)
            self._fetch(missing[0] * _BLOCK, min(stop * _BLOCK, self.size))
        for k in range(first, last):
            self._blocks.move_to_end(k)
        data = b"".join(self._blocks[k] for k in range(first, last))
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)
        return data[start - first * _BLOCK : end - first * _BLOCK]

    def _fetch(self, start: int, end: int) -> None:
        def ask() -> bytes | None:
            answer = _range(self.address, start, end)
            if answer is None:
                return None
            self._check_same(answer.meta)
            return bytes(answer.bytes())

        data = asked(self.address, ask)
        if data is None:
            self._download()
            return
        if len(data) != min(end, self.size) - start:
            raise _broken_off(self.address)
        for place in range(0, len(data), _BLOCK):
            self._blocks[(start + place) // _BLOCK] = data[place : place + _BLOCK]
        self._next = -(-end // _BLOCK)

    def _download(self) -> None:
        """Fetch all of a file whose server gives no ranges, to a file that has no name and ends with this one."""

        def ask() -> None:
            answer = _answer(self.address, {}, whole=True)
            self._check_same(answer.meta)
            for some in answer.stream(min_chunk_size=_AHEAD * _BLOCK):
                file.write(some)

        log.info("%s: its server gives no ranges, so that all of it is fetched", self.address)
        file = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed with this object)
        try:
            asked(self.address, ask)
            if file.tell() != self.size:
                raise _broken_off(self.address)
        except BaseException:
            file.close()
            raise
        self._whole = file

    def _check_same(self, meta: Any) -> None:
        found = _identity(meta)
        if self.size < 0:
            self.size, self.version = found
        elif found != (self.size, self.version):
            raise UnreadableFile(f"{self.address!r} was changed while it was read; run again to do it anew.")


class _Reader(io.BufferedIOBase):
    """One position in a file; `quiet` keeps errors in the file, for GDAL takes none from what it reads by."""

    def __init__(self, file: RemoteFile, *, quiet: bool) -> None:
        self._file, self._quiet, self._place = file, quiet, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = (
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.size}[whence]
        )
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        size = self._file.size if size is None or size < 0 else size
        try:
            data = self._file.read_at(self._place, size)
        except CoregError as error:
            if not self._quiet:
                raise
            self._file.failure = self._file.failure or error
            return b""
        self._place += len(data)
        return data


def asked(address: Address, ask: Callable[[], T]) -> T:
    """What a request gives; an error that keeps no hold of obstore's where it fails."""
    require_obstore()
    try:
        return ask()
    except CoregError:
        raise
    except Exception as error:
        # what finds credentials has errors of its own
        fault = _fault(address, error)
    raise fault


def _range(address: Address, start: int, end: int) -> Any | None:
    """The answer to a request for a range; None from a server that gives none."""
    from obstore.exceptions import NotSupportedError

    try:
        return _answer(address, {"range": (start, end)})
    except NotSupportedError:
        return None


def _answer(address: Address, options: Any, *, whole: bool = False) -> Any:
    import obstore

    # the store of a web address is the file itself, with its query
    key = "" if address.scheme in WEB else address.key
    return obstore.get(store_of(address, whole=whole), key, options=options)


def _identity(meta: Any) -> tuple[int, str]:
    return int(meta["size"]), str(meta["e_tag"] or meta["last_modified"])


def store_of(address: Address, *, whole: bool = False) -> Any:
    if address.scheme in WEB:
        return _web_store(address.whole, address.login, REQUEST_SECONDS(), whole)
    environment = tuple(sorted(one for one in os.environ.items() if one[0].startswith(_ENVIRONMENT)))
    return _bucket(address.scheme, address.bucket, REQUEST_SECONDS(), environment)


@lru_cache(maxsize=1024)
def _web_store(url: str, login: str, seconds: int, whole: bool) -> Any:
    from obstore.store import HTTPStore

    options = _client(seconds) | {"allow_http": url.startswith("http:")}
    if whole:
        # of a file of any size, each part has to come in time
        options |= {"timeout": "7days", "read_timeout": f"{seconds}s"}
    if login:
        told = base64.b64encode(login.encode()).decode()
        options["default_headers"] = {"authorization": f"Basic {told}"}
    return HTTPStore.from_url(url, client_options=options, retry_config=_retries(seconds))


@lru_cache(maxsize=64)
def _bucket(scheme: str, bucket: str, seconds: int, _: tuple[tuple[str, str], ...]) -> Any:
    """The store of a bucket, made anew where a variable of the environment has changed."""
    from obstore.store import AzureStore, GCSStore, S3Store

    # who names an endpoint without encryption wants it
    plain = any(os.environ.get(name, "").startswith("http:") for name in _ENDPOINTS)
    how = {"client_options": {**_client(seconds), "allow_http": plain}, "retry_config": _retries(seconds)}
    if scheme == "s3":
        return S3Store(bucket, **how, **_s3_login())
    if scheme == "gs":
        known = _any_set(_GS_KEYS) or Path.home().joinpath(_GS_FILE).is_file()
        return GCSStore(bucket, **how, **_signed(known))
    if not _any_set(("AZURE_STORAGE_ACCOUNT_NAME",)):
        raise InvalidRequest(
            f"The address of a container, az://{bucket}, does not tell its account. {_WHERE_FROM['az']}."
        )
    return AzureStore(bucket, **how, **_signed(_any_set(_AZURE_KEYS)))


def _client(seconds: int) -> Any:
    return {"timeout": f"{seconds}s", "connect_timeout": f"{min(seconds, 10)}s"}


def _retries(seconds: int) -> Any:
    return {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=2 * seconds)}


def _s3_login() -> Any:
    """How requests to S3 are signed: as boto3 finds it where it is installed, else by the environment, else not."""
    if _any_set(("AWS_NO_SIGN_REQUEST", "AWS_SKIP_SIGNATURE")):
        return _signed(False)
    with suppress(ImportError):
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider

        session = Session()
        if session.get_credentials() is None:
            return _signed(False)
        return {"credential_provider": Boto3CredentialProvider(session)}
    return _signed(_any_set(_S3_KEYS))


def _signed(known: bool) -> Any:
    """Requests are signed as the environment tells, or not at all, as for public buckets."""
    return {} if known else {"skip_signature": True}


def _any_set(names: tuple[str, ...]) -> bool:
    return any(os.environ.get(name) for name in names)


def _broken_off(address: Address) -> UnreadableFile:
    return UnreadableFile(f"{address!r} broke off while it was fetched. Run again; what is done stays.")


def _fault(address: Address, error: Exception) -> CoregError:
    """What a failed request means, in words without secrets."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    text = str(error)
    status = next((code for codes in _STATUS.findall(text) for code in codes if code), "")
    told = f" ({status})" if status else ""
    if isinstance(error, FileNotFoundError) or status in ("404", "410"):
        return MissingFile(f"There is no file {str(address)!r}{told}. Check the address.")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in ("401", "403"):
        hint = _WHERE_FROM.get(
            address.scheme, "Check whether it has to be signed, or its signature has run out"
        )
        return UnreadableFile(f"{address!r} may not be read{told}. {hint}.")
    if status == "416":
        return UnreadableFile(f"{address!r} is empty. Check what lies there.")
    if "kind: Timeout" in text:
        return UnreadableFile(
            f"{address!r} was not answered within {REQUEST_SECONDS()} s, nor when asked again. Try later, or raise "
            f"{REQUEST_SECONDS.variable}."
        )
    if "kind: Connect" in text:
        return UnreadableFile(
            f"The server of {address!r} cannot be reached. Check the address and the network."
        )
    if status.startswith("5") or status == "429":
        return UnreadableFile(
            f"The server of {address!r} answered with an error{told}, also when asked again. Try later."
        )
    if "kind: Interrupted" in text or "kind: Decode" in text or "kind: Request" in text:
        return _broken_off(address)
    words = without_secrets(text.split("\n")[0])
    return UnreadableFile(f"{address!r} cannot be read ({words}). Check the address.")

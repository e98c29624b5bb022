"""Addresses of files that a user typed: what may be told of them everywhere, and what may not.

Nothing but `typed` makes an `Address`, and only an `Address` is ever read over the network: a name that was
found inside a file is a plain string, and stays one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from coregstack.errors import InvalidRequest

WEB = ("https", "http")
"""Kinds of addresses that name a file on a web server."""
OBJECT_STORES = ("s3", "gs", "az")
"""Kinds of addresses that name an object: a bucket and a key in it."""

_URL = re.compile(r"\w+://[^\s'\")]+")
_PATTERN = "*?["
"""Characters of which one makes a name a pattern."""


def shown(place: object) -> str:
    """A path, URL or store without secrets: a URL without its user, password and query.

    Examples
    --------
    >>> shown("https://me:secret@example.org/cube.zarr?sig=secret")
    'https://example.org/cube.zarr'
    >>> shown("out/cube.zarr")
    'out/cube.zarr'
    """
    scheme, separator, rest = str(place).partition("://")
    if not separator:
        return scheme
    host, slash, path = rest.split("?")[0].split("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def without_secrets(text: str) -> str:
    """A text of another library in which every address is `shown`.

    Examples
    --------
    >>> without_secrets("no answer from https://example.org/a.tif?sig=secret, twice")
    'no answer from https://example.org/a.tif twice'
    """
    return _URL.sub(lambda found: shown(found.group()), text)


class Address(str):
    """The address of a file in words, without secrets; it remembers what it takes to read the file.

    It is a string wherever one is expected, so that user, password and query never reach a message, a log, a
    graph's name, a sidecar or a cube.

    Examples
    --------
    >>> address = typed("https://me:secret@example.org/scenes/20200630.tif?sig=secret")
    >>> print(address, address.stem)
    https://example.org/scenes/20200630.tif 20200630
    """

    _whole: str

    def __new__(cls, whole: str) -> Address:
        """Of the whole address as it was typed."""
        self = super().__new__(cls, shown(whole))
        self._whole = whole
        return self

    def __reduce__(self) -> tuple[type[Address], tuple[str]]:
        return type(self), (self._whole,)

    @property
    def scheme(self) -> str:
        """What comes before ``://``, in lower case."""
        return self.partition("://")[0].lower()

    @property
    def bucket(self) -> str:
        """Host, bucket or container."""
        return self.partition("://")[2].partition("/")[0]

    @property
    def key(self) -> str:
        """Path on the host or in the bucket, without the first slash."""
        return self.partition("://")[2].partition("/")[2]

    @property
    def whole(self) -> str:
        """With the query, without user and password: never to be shown."""
        parts = urlsplit(self._whole)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()

    @property
    def login(self) -> str:
        """User and password, as ``user:password``; empty if there are none. Never to be shown."""
        return unquote(urlsplit(self._whole).netloc.rpartition("@")[0])

    @property
    def secret(self) -> bool:
        """Whether it takes more to read the file than can be shown."""
        return bool(self.login) or (self.scheme in WEB and bool(urlsplit(self._whole).query))

    @property
    def name(self) -> str:
        """Name of the file."""
        last = self.rpartition("/")[2]
        return unquote(last) if self.scheme in WEB else last

    @property
    def stem(self) -> str:
        """Name of the file without extension."""
        return Path(self.name).stem


class _ObjectAddress(Address):
    """Of an object: `?` and `#` are characters of keys, and there is no user."""

    def __new__(cls, whole: str) -> _ObjectAddress:
        self = str.__new__(cls, whole)
        self._whole = whole
        return self


def typed(value: Any) -> str:
    """A path or address that a user typed, which may be read; an `Address` if it is one.

    Raises
    ------
    InvalidRequest
        If it is an address of a kind that is not read, or names no file.

    Examples
    --------
    >>> typed("folder/a.tif"), typed("s3://bucket/folder/a.tif")
    ('folder/a.tif', 's3://bucket/folder/a.tif')
    >>> typed("ftp://example.org/a.tif")
    Traceback (most recent call last):
    coregstack.errors.InvalidRequest: 'ftp://example.org/a.tif' is not read: an address begins with https://, http://, s3://, gs:// or az://.
    """  # noqa: E501
    if isinstance(value, Address):
        return value
    text: str = os.fspath(value)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    scheme = scheme.lower()
    if scheme not in (*WEB, *OBJECT_STORES):
        raise InvalidRequest(
            f"{shown(text)!r} is not read: an address begins with https://, http://, s3://, gs:// or az://."
        )
    if scheme in WEB and not _has_host(text):
        # where a login holds such a character, what looks like the host is a part of it: nothing is shown
        raise InvalidRequest(
            "An address was given whose host or port is not understood. Write the characters / ? # @ of a user or "
            "password as %2F %3F %23 %40."
        )
    address = Address(text) if scheme in WEB else _ObjectAddress(text)
    if not address.bucket or not rest.partition("/")[2]:
        raise InvalidRequest(
            f"{str(address)!r} names no file: a host or bucket, a slash and a path were expected."
        )
    return address


def _has_host(text: str) -> bool:
    parts = urlsplit(text)
    try:
        return bool(parts.hostname) and (parts.port or 1) > 0 and "@" not in parts.path
    except ValueError:
        return False


def stem_of(path: str | os.PathLike[str]) -> str:
    """File name without extension, of a path or an address.

    Examples
    --------
    >>> stem_of("folder/a.b.tif")
    'a.b'
    """
    return path.stem if isinstance(path, Address) else Path(path).stem


def is_pattern(name: str) -> bool:
    """Whether a name stands for all that it matches; the query of a web address is none of its name.

    Examples
    --------
    >>> is_pattern("scenes/*.tif"), is_pattern(typed("https://example.org/a.tif?sig=1"))
    (True, False)
    """
    return any(char in _PATTERN for char in name)

"""Downloading, checking and unpacking the files of datasets."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable

__all__ = [
    "calculate_md5", "check_integrity", "check_md5", "download_and_extract_archive", "download_url",
    "extract_archive",
]  # fmt: skip

CHUNK = 1 << 18
SECONDS_WITHOUT_DATA = 30


# ---------------------------------------------------------------- checking
def calculate_md5(fpath: str | os.PathLike[str], chunk_size: int = 1 << 20) -> str:
    """The MD5 sum of a file, as hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(fpath, "rb") as file:
        while chunk := file.read(chunk_size):
            digest.update(chunk)
    return digest.hexdigest()


def check_md5(fpath: str | os.PathLike[str], md5: str) -> bool:
    """Whether the file has this MD5 sum."""
    return md5 == calculate_md5(fpath)


def check_integrity(fpath: str | os.PathLike[str], md5: str | None = None) -> bool:
    """Whether there is such a file, and, if `md5` is given, whether it has this MD5 sum."""
    return os.path.isfile(fpath) and (md5 is None or check_md5(fpath, md5))


# ---------------------------------------------------------------- downloading
def download_url(
    url: str,
    root: str | os.PathLike[str],
    filename: str | os.PathLike[str] | None = None,
    md5: str | None = None,
) -> None:
    """Download a file, unless it is there already. It gets its name once it is complete and right.

    Args:
        url: where the file is.
        root: the folder to put it in, made where it is missing.
        filename: the name to give it. Default: the last part of `url`.
        md5: its MD5 sum, which is checked.

    Raises:
        URLError: the server cannot be reached, or has no such file.
        RuntimeError: the file that came has another checksum, or is incomplete.
    """
    root = os.path.expanduser(root)
    path = os.path.join(root, filename or os.path.basename(url))
    if check_integrity(path, md5):
        return
    os.makedirs(root, exist_ok=True)

    def fetch(temporary: str) -> None:
        _fetch(url, temporary, path)
        if md5 is not None and not check_md5(temporary, md5):
            raise RuntimeError(
                f"File not found or corrupted: {url} gave a file with MD5 sum "
                f"{calculate_md5(temporary)}, not {md5}; it was not kept"
            )

    _write_whole(path, fetch)


def _write_whole(path: str, write: Callable[[str], None]) -> None:
    """Let `write` make a file under a temporary name beside `path`, and then give it its own."""
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _fetch(url: str, temporary: str, path: str) -> None:
    """Read `url` into the file `temporary`, showing progress; `path` is where it will lie."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    request = Request(url, headers={"User-Agent": "danlu"})
    by_hand = f"or put the file there yourself: {path}"
    try:
        with urlopen(request, timeout=SECONDS_WITHOUT_DATA) as answer, open(temporary, "wb") as to:
            length = answer.headers.get("Content-Length")
            total = None if length is None else int(length)
            received = _copy(answer, to, total, os.path.basename(path))
    except HTTPError as error:
        raise URLError(
            f"{url}: the server answers {error.code} {error.reason}; {by_hand}"
        ) from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise URLError(
            f"{url} cannot be reached ({reason}): check the network connection, {by_hand}"
        ) from error
    if total is not None and received < total:
        raise RuntimeError(
            f"{url} broke off after {received} of {total} bytes: try again, {by_hand}"
        )


def _copy(source, target, total: int | None, name: str) -> int:
    """Copy what is read from `source` with a progress bar; the number of bytes."""
    from contextlib import nullcontext

    try:
        from tqdm.auto import tqdm

        shown = tqdm(total=total, unit="B", unit_scale=True, desc=name)
    except ImportError:
        print(f"Downloading {name}" + ("" if total is None else f" ({total / 1e6:.1f} MB)"))
        shown = nullcontext()
    received = 0
    with shown as bar:
        while chunk := source.read(CHUNK):
            target.write(chunk)
            received += len(chunk)
            if bar is not None:
                bar.update(len(chunk))
    return received


# ---------------------------------------------------------------- unpacking
def _is_tar(path: str) -> bool:
    stem, suffix = os.path.splitext(path)
    return suffix in (".tar", ".tgz", ".tbz2", ".txz") or stem.endswith(".tar")


def extract_archive(
    from_path: str | os.PathLike[str],
    to_path: str | os.PathLike[str] | None = None,
    remove_finished: bool = False,
) -> str:
    """Unpack a tar archive (.tar, .tgz, .tar.gz, ...), a .zip, or one .gz, .bz2 or .xz file.

    Files get their names once they are complete; those with the same names are replaced.

    Args:
        from_path: the archive.
        to_path: the folder to unpack into (for one compressed file: the file to write). Default:
            beside the archive.
        remove_finished: whether to delete the archive afterwards. Default: False.

    Returns:
        The folder, or the file.

    Raises:
        RuntimeError: the name has none of these endings, or the archive has a member that would
            lie outside of the folder.
    """
    source = os.fspath(from_path)
    suffix = os.path.splitext(source)[1]
    openers = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
    if _is_tar(source) or suffix == ".zip":
        target = os.fspath(to_path or os.path.dirname(source))
        os.makedirs(target, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".partial-") as temporary:
            (_unzip if suffix == ".zip" else _untar)(source, temporary)
            _move_files(temporary, target)
    elif suffix in openers:
        target = os.fspath(to_path or os.path.splitext(source)[0])
        _write_whole(target, lambda temporary: _decompress(source, temporary, openers[suffix]))
    else:
        raise RuntimeError(
            f"Unknown compression or archive type: {suffix!r} of {source}. Known are .tar, .tgz, "
            ".tar.gz, .tar.bz2, .tar.xz, .zip, .gz, .bz2 and .xz"
        )
    if remove_finished:
        os.remove(source)
    return target


def _decompress(source: str, target: str, module: str) -> None:
    import importlib
    import shutil

    opener = importlib.import_module(module)
    with opener.open(source, "rb") as compressed, open(target, "wb") as file:
        shutil.copyfileobj(compressed, file, CHUNK)


def _untar(source: str, folder: str) -> None:
    import tarfile

    with tarfile.open(source) as archive:
        members = archive.getmembers()
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise RuntimeError(f"{source} is not unpacked: {member.name} is a link or a device")
            _check_inside(source, member.name, folder)
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, members, filter="data")
        else:  # before Python 3.10.12 and 3.11.4
            archive.extractall(folder, members)


def _unzip(source: str, folder: str) -> None:
    import zipfile

    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            _check_inside(source, name, folder)
        archive.extractall(folder)


def _check_inside(source: str, name: str, folder: str) -> None:
    inside = os.path.realpath(folder)
    if os.path.commonpath((inside, os.path.realpath(os.path.join(folder, name)))) != inside:
        raise RuntimeError(f"{source} is not unpacked: {name} would lie outside of the folder")


def _move_files(source: str, target: str) -> None:
    """Move all files below one folder to the same places below another."""
    for folder, _, files in os.walk(source):
        place = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(place, exist_ok=True)
        for name in files:
            os.replace(os.path.join(folder, name), os.path.join(place, name))


def download_and_extract_archive(
    url: str,
    download_root: str | os.PathLike[str],
    extract_root: str | os.PathLike[str] | None = None,
    filename: str | os.PathLike[str] | None = None,
    md5: str | None = None,
    remove_finished: bool = False,
) -> None:
    """`download_url`, then `extract_archive`.

    Args:
        url: where the archive is.
        download_root: the folder to put it in.
        extract_root: the folder to unpack into. Default: `download_root`.
        filename: the archive's name. Default: the last part of `url`.
        md5: its MD5 sum.
        remove_finished: whether to delete the archive afterwards. Default: False.
    """
    download_root = os.path.expanduser(download_root)
    filename = filename or os.path.basename(url)
    download_url(url, download_root, filename, md5)
    archive = os.path.join(download_root, filename)
    folder = download_root if extract_root is None else os.path.expanduser(extract_root)
    target = folder
    if os.path.splitext(archive)[1] != ".zip" and not _is_tar(archive):
        target = os.path.join(folder, os.path.splitext(os.path.basename(archive))[0])
    extract_archive(archive, target, remove_finished)

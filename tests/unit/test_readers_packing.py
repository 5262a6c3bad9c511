"""Packed exports: gzip is unpacked as a stream under limits; every other archive is refused by name."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import delimited, packing
from msc_pipeline.readers.packing import unpacked

TEXT = b"A,B\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000))


def opened(path: Path, data: bytes, **profile: Any) -> bytes:
    path.write_bytes(data)
    return b"".join(unpacked(path, Profile(**profile)))


def zipped(names: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return out.getvalue()


def encrypted(data: bytes) -> bytes:
    """Return a zip whose flags say that it is encrypted, which is all that is looked at."""
    marked = bytearray(data)
    marked[6] |= 1
    marked[marked.index(b"PK\x01\x02") + 8] |= 1
    return bytes(marked)


def test_a_gzipped_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    assert opened(tmp_path / "x", gzip.compress(TEXT)) == TEXT


@pytest.mark.parametrize("level", [0, 1, 9])
def test_so_it_is_at_any_level_and_size_of_chunk(
    level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "CHUNK", 7)
    assert opened(tmp_path / "x", gzip.compress(TEXT[:500], level)) == TEXT[:500]


REFUSED: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "a bomb": (gzip.compress(bytes(30_000_000)), "RATIO", {}),
    "a file that unpacks beyond the limit": (gzip.compress(TEXT), "SIZE", {"max_unpacked_bytes": 10_000}),
    "a cut file": (gzip.compress(TEXT)[:-20_000], "TRUNCATED", {}),
    "a file cut inside its checksum": (gzip.compress(TEXT)[:-1], "TRUNCATED", {}),
    "a file of ten bytes": (gzip.compress(TEXT)[:10], "TRUNCATED", {}),
    "two files in one": (gzip.compress(TEXT) + gzip.compress(TEXT), "ARCHIVE", {}),
    "something behind it": (gzip.compress(TEXT) + b"\x00", "ARCHIVE", {}),
    "a wrong checksum": (gzip.compress(TEXT)[:-8] + bytes(8), "ARCHIVE", {}),
    "a zip": (zipped({"lb.csv": TEXT}), "ARCHIVE", {}),
    "a zip of two files": (zipped({"a.csv": TEXT, "b.csv": TEXT}), "ARCHIVE", {}),
    "a zip that climbs out": (zipped({"../lb.csv": TEXT}), "PATH", {}),
    "a zip that climbs out the other way": (zipped({"a\\..\\..\\lb.csv": TEXT}), "PATH", {}),
    "a zip of an absolute path": (zipped({"/etc/passwd": TEXT}), "PATH", {}),
    "a zip that names a drive": (zipped({"C:\\lb.csv": TEXT}), "PATH", {}),
    "an encrypted zip": (encrypted(zipped({"lb.csv": TEXT})), "ENCRYPTED", {}),
    "a zip without its list of names": (zipped({"lb.csv": TEXT})[:60], "ARCHIVE", {}),
    "a workbook": (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "FORMAT", {}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_archive_is_refused_with_the_code_of_its_fault(what: str, tmp_path: Path) -> None:
    data, code, profile = REFUSED[what]
    with pytest.raises(DeliveryRejected) as caught:
        opened(tmp_path / "x", data, **profile)
    assert caught.value.code == code


def test_a_bomb_is_refused_before_much_of_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(bytes(200_000_000)))
    size = 0
    with pytest.raises(DeliveryRejected, match="RATIO"):
        for chunk in unpacked(path, Profile()):
            size += len(chunk)
    assert size <= 2 * packing.CHUNK


@fuzz(100)
@given(data=st.data())
def test_a_damaged_gzip_gives_its_bytes_or_a_code(data: st.DataObject, tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(TEXT[:300], mtime=0))
    for _ in range(data.draw(st.integers(1, 3))):
        at, cut = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, 5))
        whole[at : at + cut] = data.draw(st.binary(max_size=5))
    path = tmp_path / "x.csv"
    path.write_bytes(bytes(whole))
    try:
        table = delimited.open_delimited(path, Profile())
        rows = [row for raw in table.batches(frozenset()) for row in raw.cells[0].to_pylist()]
    except DeliveryRejected as fault:
        assert fault.code.isupper()
    else:
        assert rows is not None

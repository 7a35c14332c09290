from __future__ import annotations

from pathlib import Path

import pytest
import typer
from prometheus_client import CollectorRegistry, generate_latest

from bessemer.engine.metrics import Metrics
from local_kubernetes.oci import Image, ImageConfiguration, create_archive
from tests.bench.__main__ import parse_sizes
from tests.bench.images import get_image_size
from tests.bench.operator_process import parse_memory, parse_wakeups


def test_the_operators_own_metric_is_read() -> None:
    metrics = Metrics(CollectorRegistry())
    assert parse_wakeups(generate_latest(metrics.registry).decode()) is None
    for seconds in (0.06, 0.06, 0.06, 0.06):
        metrics.handoff_seconds.observe(seconds)
    found = parse_wakeups(generate_latest(metrics.registry).decode())
    assert found is not None
    assert (found.count, round(found.mean, 3)) == (4, 0.06)
    assert 0.05 < found.p50 < found.p99 <= 0.075


def test_an_operator_without_the_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="bessemer_handoff_seconds"):
        parse_wakeups("# TYPE other counter\nother_total 1.0\n")


def test_memory_is_read_in_bytes() -> None:
    found = parse_memory("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t   200 kB\nVmRSS:\t   100 kB\n")
    assert (found.resident, found.peak) == (102400, 204800)


def test_an_image_is_as_large_as_the_files_of_its_layers(tmp_path: Path) -> None:
    for layer, size in (("lower", 1000), ("upper", 24)):
        (tmp_path / layer).mkdir()
        (tmp_path / layer / "file").write_bytes(b"x" * size)
    archive = tmp_path / "image.tar"
    create_archive(archive, ["localhost/x:1"], [tmp_path / "lower", tmp_path / "upper"], ImageConfiguration(["/x"]))
    found = get_image_size(Image("localhost/x:1", archive))
    assert (found.unpacked, found.archive) == (1024, archive.stat().st_size)


def test_sizes_are_numbers_that_a_rack_has_room_for() -> None:
    assert parse_sizes("1, 4,16") == [1, 4, 16]
    for text in ("", "0", "65", "4,x"):
        with pytest.raises(typer.BadParameter, match="numbers from 1 to 64"):
            parse_sizes(text)

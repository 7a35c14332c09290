"""The operator's settings: proxies and logs."""

from __future__ import annotations

import pytest

from bessemer.engine.settings import build_proxy_environment, parse_settings
from bessemer.errors import Invalid

GIVEN = {"BESSEMER_IMAGE": "i", "BESSEMER_NAMESPACE": "n", "BESSEMER_IDENTITY": "me"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BESSEMER_LOG_LEVEL", "debug"),
        ("BESSEMER_LOG_FORMAT", "yaml"),
        ("BESSEMER_HTTP_PROXY", "http://user:password@proxy:3128"),
        ("BESSEMER_HTTPS_PROXY", "proxy:3128"),
    ],
)
def test_a_setting_that_can_not_work_is_refused_by_its_name_and_not_shown(variable: str, value: str) -> None:
    with pytest.raises(Invalid, match=f"^.*{variable} must be") as caught:
        parse_settings({**GIVEN, variable: value})
    assert value not in str(caught.value)


def test_logs_are_text_from_info_on_unless_set() -> None:
    assert (parse_settings(GIVEN).log_level, parse_settings(GIVEN).log_format) == ("info", "text")
    settings = parse_settings({**GIVEN, "BESSEMER_LOG_LEVEL": "error", "BESSEMER_LOG_FORMAT": "json"})
    assert (settings.log_level, settings.log_format) == ("error", "json")


def test_proxies_are_told_in_both_spellings_and_only_those_that_are_set() -> None:
    assert build_proxy_environment(None, "http://proxy:3128", ".svc") == {
        "HTTPS_PROXY": "http://proxy:3128",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": ".svc",
        "no_proxy": ".svc",
    }

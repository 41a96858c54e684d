"""How pages put what machines say of themselves."""

from __future__ import annotations

import pytest

from xmailadmin.templatetags.portal import browser, whole_dates

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "told"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/143.0 Safari/537.36 Edg/143.0",
         "Edge · Windows"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/143.0 Safari/537.36", "Chrome · Linux"),
        (f"Mozilla/5.0 (Linux; Android 15) {WEBKIT} Chrome/143.0 Safari/537.36",
         "Chrome · Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0",
         "Firefox · macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 "
         "Version/18.1 Mobile Safari/604.1", "Safari · iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_told_in_short(user_agent: str, told: str) -> None:
    assert browser(user_agent) == told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("until 2028-02-27.", 'until <span class="nowrap">2028-02-27</span>.'),
        ("2028-02-27まで", '<span class="nowrap">2028-02-27</span>まで'),
        ("<b> 192-168-2028-02-271", "&lt;b&gt; 192-168-2028-02-271"),
        ("", ""),
    ],
)
def test_a_date_in_a_sentence_stays_in_one_piece(text: str, shown: str) -> None:
    assert whole_dates(text) == shown

"""The plugin that lets nbval see updated displays."""

from __future__ import annotations

from typing import Any

from tests.notebooks.display_updates import Displays


def message(kind: str, text: str, display_id: str | None = None) -> dict[str, Any]:
    transient = {} if display_id is None else {"display_id": display_id}
    return {"msg_type": kind, "content": {"data": {"text/plain": text}, "metadata": {}, "transient": transient}}


def test_an_update_changes_the_output_that_was_kept_and_is_no_output_itself():
    displays = Displays()
    first = message("display_data", "working", "a")
    displays.observe(first)
    kept = first["content"]["data"]

    update = message("update_display_data", "done", "a")
    displays.observe(update)

    assert kept == {"text/plain": "done"}
    assert update["msg_type"].startswith("comm")


def test_displays_are_told_apart():
    displays = Displays()
    messages = [message("display_data", "one", "a"), message("display_data", "two", "b")]
    for each in (*messages, message("update_display_data", "new", "b")):
        displays.observe(each)

    assert [each["content"]["data"]["text/plain"] for each in messages] == ["one", "new"]


def test_other_messages_pass_untouched():
    displays = Displays()
    for each in (message("display_data", "plain"), {"msg_type": "stream", "content": {"name": "stdout", "text": "x"}}):
        before = repr(each)
        displays.observe(each)
        assert repr(each) == before

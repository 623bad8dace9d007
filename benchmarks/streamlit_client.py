"""A client for Streamlit's own websocket: it sends and receives what a browser's tab would.

It keeps the elements of the page, the address, and the timers of fragments that poll. It sends one request at a time.
Every answer is timed from the moment it was wanted until the server reports that its script has finished.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pyarrow.ipc import open_stream
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.Common_pb2 import StringTriggerValue
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PATIENCE_S = 60.0
"""The longest wait for an answer; the server never answers a poll of a fragment that no longer exists."""


@dataclass(frozen=True)
class Answer:
    """One answer of the server.

    Attributes:
        kind: the whole page, or a fragment that polled.
        page: address of the page, such as `history`; empty for the first page.
        wall_s: time from the wish for it until the script had finished.
    """

    kind: Literal["page", "poll"]
    page: str
    wall_s: float


@dataclass(frozen=True)
class _Shown:
    fragment: str
    kind: str
    element: Any


class Tab:
    """One visitor's tab; made by `open_tab`.

    Args:
        tell: receives every answer.
    """

    def __init__(self, socket: ClientConnection, tell: Callable[[Answer], None]) -> None:
        self._socket, self._tell = socket, tell
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._answered: asyncio.Future[int] = self._loop.create_future()
        self._shown: dict[tuple[int, ...], _Shown] = {}
        self._drawn: dict[tuple[int, ...], _Shown] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._pages: dict[str, str] = {}
        self._page_hash = ""
        self._bound: set[str] = set()
        self._hearers: dict[str, Callable[[ForwardMsg], None]] = {
            "new_session": self._begin,
            "navigation": self._know_pages,
            "page_info_changed": self._know_address,
            "session_event": self._know_trouble,
            "delta": self._draw,
            "auto_rerun": self._start_timer,
            "stop_auto_rerun": self._drop_timers,
            "script_finished": self._finish,
        }
        self.query: dict[str, str] = {}
        """The query of the address."""
        self.troubles: list[str] = []
        """Exceptions and errors that the page showed."""

    @property
    def page(self) -> str:
        """Address of the page that is shown."""
        return next((name for name, hashed in self._pages.items() if hashed == self._page_hash), "")

    def widgets(self, prefix: str = "") -> tuple[str, ...]:
        """Keys of the widgets on the page that start with this."""
        keys = (_key_of(shown) for shown in self._shown.values())
        return tuple(key for key in keys if key and key.startswith(prefix))

    def shows(self, kind: str) -> bool:
        """Whether the page has an element of this kind (Streamlit's own name of the kind)."""
        return any(shown.kind == kind for shown in self._shown.values())

    async def open(self, page: str, query: str) -> None:
        """Send the first request of a tab, as for an address that was typed in."""
        self.query = dict(parse_qsl(query))
        await self._ask(ClientState(page_name=page))

    async def go(self, page: str, query: str = "") -> None:
        """Follow a link to another page: of the old query only the values of bound widgets are kept."""
        bound = {name: value for name, value in self.query.items() if name in self._bound}
        self.query = {**bound, **dict(parse_qsl(query))}
        await self._ask(ClientState(page_script_hash=self._pages[page]))

    async def click(self, key: str) -> None:
        """Press a button."""
        await self._touch(WidgetState(id=self._find(key).element.id, trigger_value=True))

    def rows(self, key: str) -> int:
        """How many rows the table of this key has; 0 where the page does not have it."""
        if key not in self.widgets():
            return 0
        rows: int = open_stream(self._find(key).element.arrow_data.data).read_all().num_rows
        return rows

    async def press(self, key: str, column: str, row: int) -> None:
        """Press a button in a table."""
        trigger = StringTriggerValue(data=json.dumps({"row": row, "label": ""}))
        widget = self._find(key).element.button_click_widgets[column]
        await self._touch(WidgetState(id=widget, string_trigger_value=trigger))

    async def choose(self, key: str, value: str) -> None:
        """Choose a pill or a segment, or type into a text area."""
        shown = self._find(key)
        state = WidgetState(id=shown.element.id)
        if shown.kind == "button_group":
            state.string_array_value.data.append(value)
        else:
            state.string_value = value
        if bound := shown.element.query_param_key:
            self._bound.add(bound)
            self.query[bound] = value
        await self._touch(state)

    async def listen(self) -> None:
        """Receive what the server sends, until the tab is closed."""
        with suppress(ConnectionClosed):
            async for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data if isinstance(data, bytes) else data.encode())
                self._hear(message)

    def close(self) -> None:
        """Stop polling."""
        self._stop_timers(tuple(self._timers))
        for poll in self._polls.values():
            poll.cancel()

    async def _touch(self, state: WidgetState) -> None:
        asked = ClientState(page_script_hash=self._page_hash)
        asked.widget_states.widgets.append(state)
        await self._ask(asked)

    async def _ask(self, state: ClientState) -> None:
        wanted = self._loop.time()
        async with self._turn:
            await self._answer_to(state, wanted)

    async def _poll(self, fragment: str) -> None:
        wanted = self._loop.time()
        async with self._turn:
            if fragment in self._timers:
                state = ClientState(
                    page_script_hash=self._page_hash, fragment_id=fragment, is_auto_rerun=True
                )
                await self._answer_to(state, wanted)

    async def _answer_to(self, state: ClientState, wanted: float) -> None:
        state.query_string = urlencode(self.query)
        self._answered = self._loop.create_future()
        await self._socket.send(BackMsg(rerun_script=state).SerializeToString())
        try:
            status = await asyncio.wait_for(self._answered, PATIENCE_S)
        except TimeoutError:
            self.troubles.append("no answer")
            return
        fragment = status == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
        self._tell(Answer("poll" if fragment else "page", self.page, self._loop.time() - wanted))

    def _hear(self, message: ForwardMsg) -> None:
        hear = self._hearers.get(message.WhichOneof("type") or "")
        if hear is not None:
            hear(message)

    def _know_pages(self, message: ForwardMsg) -> None:
        self._pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
        self._page_hash = message.navigation.page_script_hash

    def _know_address(self, message: ForwardMsg) -> None:
        self.query = dict(parse_qsl(message.page_info_changed.query_string))

    def _know_trouble(self, message: ForwardMsg) -> None:
        self.troubles.append(f"session event: {message.session_event.WhichOneof('type')}")

    def _begin(self, message: ForwardMsg) -> None:
        """A run of the script begins: the elements that it will draw again are removed, and so are a page's timers."""
        fragments = set(message.metadata.run.fragment_ids)
        self._drawn = {
            path: shown
            for path, shown in self._drawn.items()
            if fragments and shown.fragment not in fragments
        }
        if not fragments:
            self._stop_timers(tuple(self._timers))
            self._page_hash = message.new_session.page_script_hash

    def _finish(self, message: ForwardMsg) -> None:
        """The script has finished, unless it starts again at once."""
        status = message.script_finished
        if status != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._shown = dict(self._drawn)
            if not self._answered.done():
                self._answered.set_result(status)

    def _draw(self, message: ForwardMsg) -> None:
        delta = message.delta
        if delta.WhichOneof("type") != "new_element":
            return
        kind = delta.new_element.WhichOneof("type") or ""
        element: Any = getattr(delta.new_element, kind, None)
        self._drawn[tuple(message.metadata.delta_path)] = _Shown(delta.fragment_id, kind, element)
        if kind == "exception":
            self.troubles.append(f"{element.type}: {element.message}")
        elif kind == "alert" and element.format == element.ERROR:
            self.troubles.append(element.body)

    def _start_timer(self, message: ForwardMsg) -> None:
        fragment, interval_s = message.auto_rerun.fragment_id, message.auto_rerun.interval
        self._stop_timers((fragment,))
        self._timers[fragment] = self._loop.call_later(interval_s, self._tick, fragment, interval_s)

    def _drop_timers(self, message: ForwardMsg) -> None:
        self._stop_timers(message.stop_auto_rerun.fragment_ids)

    def _stop_timers(self, fragments: Iterable[str]) -> None:
        for fragment in fragments:
            if fragment in self._timers:
                self._timers.pop(fragment).cancel()

    def _tick(self, fragment: str, interval_s: float) -> None:
        self._timers[fragment] = self._loop.call_later(interval_s, self._tick, fragment, interval_s)
        before = self._polls.get(fragment)
        if before is None or before.done():
            self._polls[fragment] = self._loop.create_task(self._poll(fragment))

    def _find(self, key: str) -> _Shown:
        for shown in self._shown.values():
            if _key_of(shown) == key:
                return shown
        raise LookupError(f"the page {self.page!r} has no {key!r}; it has {', '.join(self.widgets())}")


def _key_of(shown: _Shown) -> str:
    """A widget's key, from its id: `$$ID-`, a hash, and the key."""
    _, _, key = getattr(shown.element, "id", "").removeprefix("$$ID-").partition("-")
    return key


@asynccontextmanager
async def open_tab(
    url: str, tell: Callable[[Answer], None], page: str = "", query: str = ""
) -> AsyncIterator[Tab]:
    """Open a tab on a page of the app at this address, such as `http://127.0.0.1:8501`.

    Args:
        tell: receives every answer.
        page: address of the first page; empty for the Overview.
        query: query of the address.
    """
    address = f"ws://{urlsplit(url).netloc}/_stcore/stream"
    async with connect(
        address, subprotocols=[Subprotocol("streamlit")], max_size=None, ping_interval=None, compression=None
    ) as socket:
        tab = Tab(socket, tell)
        listening = asyncio.create_task(tab.listen())
        try:
            await tab.open(page, query)
            yield tab
        finally:
            tab.close()
            listening.cancel()

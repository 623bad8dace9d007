"""What allows this browser to cancel its own jobs after a reload: a secret that is in no address.

A reload is a new session, so a session alone cannot remember it. Streamlit gives each browser a random token, as a
cookie, which stays until the browser is closed. The secret is a hash of that token.
"""

from binascii import Error, unhexlify
from hashlib import sha256
from itertools import cycle

import streamlit as st

COOKIE = "_streamlit_xsrf"
FEWEST_TOKEN_BYTES = 16


def browser_secret() -> str:
    """The secret of the browser that shows this page; empty where it sends no such cookie."""
    # Streamlit's AppTest gives a stand-in for each cookie, which is no text.
    return secret_of_cookie(str(st.context.cookies.get(COOKIE, "")))


def secret_of_cookie(cookie: str) -> str:
    """The secret of the browser with this cookie; empty where the cookie is missing or not of the known form.

    Args:
        cookie: `2|mask|token|time`, as Tornado writes it too: the token is masked anew in every answer, in
            hexadecimal digits.
    """
    version, *parts = cookie.strip("\"'").split("|")
    if version != "2" or len(parts) != 3:
        return ""
    try:
        mask, masked = unhexlify(parts[0]), unhexlify(parts[1])
    except (Error, ValueError):
        return ""
    if not mask or len(masked) < FEWEST_TOKEN_BYTES:
        return ""
    token = bytes(a ^ b for a, b in zip(masked, cycle(mask), strict=False))
    return sha256(b"fastpath ticket " + token).hexdigest()

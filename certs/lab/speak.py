"""The lab's Python client: smtplib and poplib as a script would use them.

Run by itself, without Django: speak.py PROTOCOL SECURITY HOST PORT CONTEXT USER PASSWORD, where
CONTEXT is none, default, off or the path of a certificate to trust.
"""

from __future__ import annotations

import poplib
import smtplib
import ssl
import sys


def context_for(what: str) -> ssl.SSLContext | None:
    if what == "none":
        return None
    if what == "off":
        return ssl._create_unverified_context()  # noqa: S323  what it does is the question
    return ssl.create_default_context(cafile=None if what == "default" else what)


def main(
    protocol: str, security: str, host: str, port: str, what: str, user: str, password: str
) -> None:
    context = context_for(what)
    if protocol == "SMTP":
        server: smtplib.SMTP
        if security == "implicit":
            server = smtplib.SMTP_SSL(host, int(port), timeout=15, context=context)
        else:
            server = smtplib.SMTP(host, int(port), timeout=15)
            server.starttls(context=context)
        server.login(user, password)
        server.sendmail(user, [user], "Subject: client lab\r\n\r\nOne line.\r\n")
    else:
        box: poplib.POP3
        if security == "implicit":
            box = poplib.POP3_SSL(host, int(port), timeout=15, context=context)
        else:
            box = poplib.POP3(host, int(port), timeout=15)
            box.stls(context=context)
        box.user(user)
        box.pass_(password)
        box.retr(1)
        box.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])

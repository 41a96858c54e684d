"""The clients that the lab can run, each with its own way to be told what to verify."""

from __future__ import annotations

import sys
from pathlib import Path

from certs.lab.job import Call, Job, Tool, Way

__all__ = ["TOOLS"]

BOTH = ("SMTP", "POP3")
MESSAGE = "Subject: client lab\n\nOne line.\n"
SPEAK = Path(__file__).with_name("speak.py")
REFERENCE_DIALOGUE = {"SMTP": "EHLO lab\nQUIT\n", "POP3": "CAPA\nQUIT\n"}


def curl(job: Job) -> Call:
    scheme = job.protocol.lower() + ("s" if job.implicit else "")
    argv = ["curl", "--silent", "--show-error", "--max-time", "15"]
    argv += [] if job.implicit else ["--ssl-reqd"]
    argv += {"default": [], "off": ["-k"], "trusted": ["--cacert", str(job.trust)]}[job.verify]
    argv += ["--user", f"{job.user}:{job.password}"]
    if job.smtp:
        argv += ["--mail-from", job.user, "--mail-rcpt", job.user, "--upload-file", "-"]
    where = f"{scheme}://{job.host}:{job.port}/" + ("" if job.smtp else "1")
    return Call([*argv, where], stdin=MESSAGE)


def openssl(job: Job) -> Call:
    argv = ["openssl", "s_client", "-quiet", "-crlf", "-connect", f"{job.host}:{job.port}"]
    argv += [] if job.implicit else ["-starttls", job.protocol.lower()]
    if job.verify == "trusted":
        argv += ["-CAfile", str(job.trust), "-verify_return_error", "-verify_hostname", job.host]
    return Call(argv, stdin=REFERENCE_DIALOGUE[job.protocol])


def gnutls(job: Job) -> Call:
    argv = ["gnutls-cli", "--crlf", "--port", str(job.port)]
    argv += [] if job.implicit else [f"--starttls-proto={job.protocol.lower()}"]
    trusted = ["--x509cafile", str(job.trust)]
    argv += {"default": [], "off": ["--insecure"], "trusted": trusted}[job.verify]
    return Call([*argv, job.host], stdin=REFERENCE_DIALOGUE[job.protocol])


def swaks(job: Job) -> Call:
    argv = ["swaks", "--server", job.host, "--port", str(job.port), "--timeout", "15"]
    argv += ["--tls-on-connect" if job.implicit else "--tls", "--auth", "PLAIN"]
    argv += ["--auth-user", job.user, "--auth-password", job.password]
    argv += ["--from", job.user, "--to", job.user]
    if job.verify == "trusted":
        argv += ["--tls-verify", "--tls-ca-path", str(job.trust)]
    return Call(argv)


def _m_options(job: Job) -> list[str]:
    """What msmtp and mpop have in common."""
    trusted = f"tls_trust_file {job.trust}"
    if job.variant == "tls_fingerprint":
        pairs = (job.sha256[at : at + 2] for at in range(0, len(job.sha256), 2))
        trusted = f"tls_fingerprint {':'.join(pairs)}"
    return [
        "defaults",
        "timeout 15",
        "account default",
        f"host {job.host}",
        f"port {job.port}",
        "tls on",
        f"tls_starttls {'off' if job.implicit else 'on'}",
        *{"default": [], "off": ["tls_certcheck off"], "trusted": [trusted]}[job.verify],
        "auth plain" if job.smtp else "auth user",
        f"user {job.user}",
        f"password {job.password}",
    ]


def msmtp(job: Job) -> Call:
    config = job.write("msmtprc", *_m_options(job), f"from {job.user}")
    return Call(["msmtp", f"--file={config}", job.user], stdin=MESSAGE)


def mpop(job: Job) -> Call:
    drop = [f"delivery mbox {job.folder / 'mbox'}", f"uidls_file {job.folder / 'uidls'}"]
    config = job.write("mpoprc", *_m_options(job), *drop)
    return Call(["mpop", f"--file={config}"])


def fetchmail(job: Job) -> Call:
    config = job.write(
        "fetchmailrc",
        f"poll {job.host} protocol POP3 port {job.port} timeout 15",
        f'  user "{job.user}" password "{job.password}" keep fetchall mda "cat"',
        *{
            "default": ["  sslcertck"],
            "off": ["  no sslcertck"],
            "trusted": ["  sslcertck", f'  sslcertfile "{job.trust}"'],
        }[job.verify],
        "  ssl" if job.implicit else '  sslproto "TLS1.2+"',
    )
    lock = ["--pidfile", str(job.folder / "pid"), "--idfile", str(job.folder / "ids")]
    return Call(["fetchmail", "--nosyslog", "--nodetach", "--fetchmailrc", str(config), *lock])


def getmail(job: Job) -> Call:
    drop = job.folder / "Maildir"
    for name in ("cur", "new", "tmp"):
        (drop / name).mkdir(parents=True)
    job.write(
        "getmailrc",
        "[retriever]",
        "type = SimplePOP3SSLRetriever",
        f"server = {job.host}",
        f"port = {job.port}",
        f"username = {job.user}",
        f"password = {job.password}",
        "timeout = 15",
        *([f"ca_certs = {job.trust}"] if job.verify == "trusted" else []),
        "[destination]",
        "type = Maildir",
        f"path = {drop}/",
        "[options]",
        "read_all = true",
        "delete = false",
    )
    return Call(["getmail", f"--getmaildir={job.folder}", "--rcfile=getmailrc"])


def s_nail(job: Job) -> Call:
    scheme = ("smtp" if job.smtp else "pop3") + ("s" if job.implicit else "")
    where = f"{scheme}://{job.login}@{job.host}:{job.port}"
    options = ["v15-compat", "socket-connect-timeout=15", "nosave"]
    options += {"default": [], "off": ["tls-verify=ignore"], "trusted": []}[job.verify]
    options += [f"tls-ca-file={job.trust}"] if job.verify == "trusted" else []
    options += [] if job.implicit else [f"{'smtp' if job.smtp else 'pop3'}-use-starttls"]
    if job.smtp:
        options += [f"mta={where}", "smtp-auth=login", f"from={job.user}", "sendwait"]
    settings = [part for option in options for part in ("-S", option)]
    argv = ["s-nail", "-:/", *settings]
    if job.smtp:
        return Call([*argv, "-s", "client lab", job.user], stdin="One line.\n")
    return Call([*argv, "-#", "-R", "-f", where], stdin="type 1\nexit\n")


def neomutt(job: Job) -> Call:
    certificates = job.write("certificates", *job.trust.read_text().splitlines())
    scheme = ("smtp" if job.smtp else "pop") + ("s" if job.implicit else "")
    where = f"{scheme}://{job.login}@{job.host}:{job.port}"
    checks_off = job.verify == "off" or job.variant.endswith("checks off")
    config = job.write(
        "neomuttrc",
        f'set from="{job.user}"',
        "set ssl_starttls=yes ssl_force_tls=yes copy=no",
        f'set {"smtp_url" if job.smtp else "pop_host"}="{where}"',
        f'set folder="{job.folder}" spoolfile="{job.folder}/inbox" mbox_type=mbox',
        "set pop_delete=no pop_last=no pop_checkinterval=0 connect_timeout=15",
        f'set header_cache="" message_cachedir="" certificate_file="{_kept(job, certificates)}"',
        *(["set ssl_verify_host=no ssl_verify_dates=no"] if checks_off else []),
        *([f'set ssl_ca_certificates_file="{job.trust}"'] if _authority(job) else []),
        "set wait_key=no quit=yes",
    )
    argv = ["neomutt", "-n", "-F", str(config)]
    if job.smtp:
        return Call([*argv, "-s", "client lab", "--", job.user], stdin="One line.\n")
    (job.folder / "inbox").touch()
    keys = (("NeoMutt", "G"), ("(r)eject", "r"), ("", ""))
    return Call([*argv, "-f", f"{job.folder}/inbox"], env={"TERM": "xterm"}, keys=keys)


def _kept(job: Job, certificates: Path) -> Path:
    """The certificates that a person has accepted: ours where it is trusted, else none."""
    return certificates if job.verify == "trusted" else job.write("no-certificates")


def _authority(job: Job) -> bool:
    return job.verify == "trusted" and b"authority" in job.trust.name.encode()


def python(job: Job) -> Call:
    what = {"default": "default", "off": "off", "trusted": str(job.trust)}[job.verify]
    return _python(job, what)


def python_without_context(job: Job) -> Call:
    return _python(job, "none")


def _python(job: Job, context: str) -> Call:
    security = "implicit" if job.implicit else "starttls"
    where = [job.protocol, security, job.host, str(job.port)]
    return Call([sys.executable, "-I", str(SPEAK), *where, context, job.user, job.password])


DEFAULT = Way("default")
MUTT_TRUST = (
    'certificate_file=FILE holding the certificate (= prompt "accept (a)lways"); '
    "CA root: ssl_ca_certificates_file=FILE"
)

TOOLS = (
    Tool(
        "curl", "curl", "curl", BOTH,
        (DEFAULT, Way("off", "-k / --insecure"), Way("trusted", "--cacert FILE")),
        curl, ("--version",), r"curl ([\d.]+)",
    ),
    Tool(
        "openssl-s-client", "openssl s_client", "openssl", BOTH,
        (
            DEFAULT,
            Way(
                "trusted",
                "-CAfile FILE -verify_return_error -verify_hostname HOST (turns verification on)",
            ),
        ),
        openssl, ("version",), r"OpenSSL ([\d.]+)", goal="greeted",
    ),
    Tool(
        "gnutls-cli", "gnutls-cli", "gnutls-cli", BOTH,
        (
            DEFAULT,
            Way("off", "--insecure (or --no-ca-verification)"),
            Way("trusted", "--x509cafile FILE"),
        ),
        gnutls, ("--version",), r"gnutls-cli ([\d.]+)", goal="greeted",
    ),
    Tool(
        "swaks", "swaks", "swaks", ("SMTP",),
        (DEFAULT, Way("trusted", "--tls-verify --tls-ca-path FILE (turns verification on)")),
        swaks, ("--version",), r"version (\d+)",
    ),
    Tool(
        "msmtp", "msmtp", "msmtp", ("SMTP",),
        (
            DEFAULT,
            Way("off", "tls_certcheck off"),
            Way("trusted", "tls_trust_file FILE"),
            Way("trusted", "tls_fingerprint SHA256", "tls_fingerprint"),
        ),
        msmtp, ("--version",), r"msmtp version ([\d.]+)",
    ),
    Tool(
        "mpop", "mpop", "mpop", ("POP3",),
        (DEFAULT, Way("off", "tls_certcheck off"), Way("trusted", "tls_trust_file FILE")),
        mpop, ("--version",), r"mpop version ([\d.]+)",
    ),
    Tool(
        "fetchmail", "fetchmail", "fetchmail", ("POP3",),
        (
            DEFAULT,
            Way("off", "no sslcertck (--nosslcertck)"),
            Way("trusted", "sslcertfile FILE"),
        ),
        fetchmail, ("--version",), r"release ([\d.]+\d)",
    ),
    Tool(
        "getmail6", "getmail6", "getmail", ("POP3",),
        (DEFAULT, Way("trusted", "ca_certs=FILE (turns verification on)")),
        getmail, ("--version",), r"getmail ([\d.]+)", starttls=False,
    ),
    Tool(
        "s-nail", "s-nail", "s-nail", BOTH,
        (DEFAULT, Way("off", "set tls-verify=ignore"), Way("trusted", "set tls-ca-file=FILE")),
        s_nail, ("-V",), r"v([\d.]+)",
    ),
    Tool(
        "neomutt", "neomutt", "neomutt", BOTH,
        (
            DEFAULT,
            Way("off", "NO switch; ssl_verify_host=no + ssl_verify_dates=no only"),
            Way("trusted", MUTT_TRUST),
            Way(
                "trusted",
                "certificate_file=FILE + ssl_verify_host=no + ssl_verify_dates=no",
                "certificate_file, host/date checks off",
            ),
        ),
        neomutt, ("-v",), r"NeoMutt (\d+)",
    ),
    Tool(
        "python-default-context", "Python smtplib/poplib (create_default_context)",
        sys.executable, BOTH,
        (
            DEFAULT,
            Way("off", "context=ssl._create_unverified_context()"),
            Way("trusted", "ssl.create_default_context(cafile=FILE)"),
        ),
        python, ("-V",), r"Python ([\d.]+)",
    ),
    Tool(
        "python-no-context", "Python smtplib/poplib (no context)", sys.executable, BOTH,
        (DEFAULT,), python_without_context, ("-V",), r"Python ([\d.]+)",
    ),
)  # fmt: skip

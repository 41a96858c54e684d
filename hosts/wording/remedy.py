"""Sentences for hosts/diagnosis.py (remedy.…): what to do about a finding, and where."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    "remedy.install_pair": _(
        "Install a pair on this host: choose one under Pairs, or make a new one."
    ),
    "remedy.new_pair": _(
        "Make a new pair and install it on every host that uses this one; tell the users before "
        "you do."
    ),
    "remedy.key_in_certificate": _(
        "If nobody but XMail could read %(path)s, take the key out of it. Otherwise make a new "
        "pair and install it; the portal writes certificates alone into that file."
    ),
    "remedy.look_at_host": _(
        "Make the host reachable for the portal and diagnose again, or look into %(path)s on the "
        "host yourself."
    ),
    "remedy.look_again": _("Make the host reachable for the portal and diagnose again."),
    "remedy.let_portal_read": _(
        "Let the account by which the portal reaches the host read %(key)s: give the file to the "
        "user that XMail runs as, and use that user in the portal."
    ),
    "remedy.no_cas_needed": _(
        "Nothing needs to be done. If you want client certificates verified, put the CA "
        "certificates into MailRoot/certs.pem and set SSLUseCertsFile and SSLWantVerify to 1 in "
        "server.tab."
    ),
    "remedy.install_cas": _(
        "Put the CA certificates into MailRoot/certs.pem and set SSLUseCertsFile to 1 in "
        "server.tab, or set SSLWantVerify and SSLWantCert to 0."
    ),
    "remedy.use_cas": _(
        "Set SSLUseCertsFile to 1 in server.tab for certs.pem, or SSLUseCertsDir for the directory "
        "certs."
    ),
    "remedy.mend_ca_file": _(
        "Replace MailRoot/certs.pem by one that holds CA certificates in PEM form, or set "
        "SSLUseCertsFile to 0 in server.tab."
    ),
    "remedy.mend_access": _(
        "Mend the cause on the host, or correct the way to it under Edit on the host’s page; then "
        "diagnose again."
    ),
    "remedy.correct_mailroot": _(
        "Correct the MailRoot under Edit on the host’s page: it is the directory that holds "
        "XMail’s server.tab."
    ),
    "remedy.check_clock": _(
        "Check the clocks of this machine and of the host; wait until the certificate is valid, or "
        "make a new pair."
    ),
    "remedy.name_address": _(
        "If users connect to this name, make a pair that has it among its host aliases. If they "
        "use another one, nothing needs to be done."
    ),
    "remedy.run": _("Run on the host: %(command)s"),
    "remedy.icacls": _(
        "Make sure that only the administrators and the account of the XMail service may read it; "
        "this shows who may: %(command)s"
    ),
    "remedy.set_on": _(
        "Set %(setting)s to 1 in MailRoot/server.tab, or delete its line; it takes effect with the "
        "next connection."
    ),
    "remedy.set_off": _(
        "If this is not wanted, set %(setting)s to 0 in MailRoot/server.tab; it takes effect with "
        "the next connection."
    ),
    "remedy.drift": _(
        "Install the pair again that this host should have, or leave it: the portal overwrites "
        "nothing by itself."
    ),
    "remedy.unrecorded": _(
        "Nothing needs to be done. The portal keeps this pair when it installs another one, so "
        "that you can go back to it."
    ),
    "remedy.placed": _("Install the pair from the portal when you want to use it."),
    "remedy.wire_not_disk": _(
        "Check that the address leads to this very XMail and that it uses %(path)s: another "
        "server, a relay or a port forwarding may answer in its place."
    ),
    "remedy.add_endpoints": _(
        "Enter the ports of its services under Edit on the host’s page, to see whether they serve "
        "what they should."
    ),
    "remedy.add_address": _(
        "Enter the host’s address under Edit on its page, to see whether its services serve what "
        "they should."
    ),
    "remedy.none_reachable": _(
        "Check that XMail runs, that the address is right, and that a firewall lets the portal "
        "through."
    ),
    "remedy.endpoint_connect": _(
        "Start the service, correct its port, or set the port to 0 under Edit on the host’s page "
        "if the service is not used."
    ),
    "remedy.endpoint_banner": _(
        "Correct the port under Edit on the host’s page, or see on the host which program listens "
        "there."
    ),
    "remedy.endpoint_command": _(
        "Look at the TLS settings in MailRoot/server.tab and at XMail’s log."
    ),
    "remedy.endpoint_handshake": _(
        "Look at the pair in MailRoot, above, and install a good one; XMail takes it from the next "
        "connection on, without a restart."
    ),
    "remedy.client_certificate": _(
        "Set SSLWantCert to 0 in MailRoot/server.tab unless every mail program has a certificate."
    ),
    "remedy.renew_openssl": _("Run XMail with a current OpenSSL."),
    "remedy.xmail_weaknesses": _(
        "Recommend SMTPS (465) and POP3S (995) to the users: their connections are encrypted from "
        "the first byte. Limit the sessions of one address by a firewall."
    ),
}

"""Wording of what keeps the portal from reaching a host or its files."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    # Addresses.
    "address.malformed": _("%(address)s is no host name and no IP address. Correct the address."),
    "address.denied": _(
        "%(address)s cannot be the address of a mail server (link-local, multicast, unspecified or "
        "a cloud's metadata service), so nothing is sent there. Correct the address of the host."
    ),
    "address.name_denied": _(
        "%(name)s stands for %(address)s, which cannot be the address of a mail server, so nothing "
        "is sent there. Correct the name in the DNS or the address of the host."
    ),
    "address.not_in_allowed_networks": _(
        "%(address)s is outside the networks in which hosts may be. Correct the address, or have "
        "the administrator of the portal extend the allowed networks."
    ),
    "address.unknown": _(
        "The name %(address)s is not known, or the DNS does not answer. Check the name and the "
        "portal's DNS."
    ),
    "address.bad_port": _("%(port)s is no port. Give a number from 1 to 65535."),
    # Files, whatever the way to them.
    "transport.unknown": _(
        "This portal knows no transport named %(transport)s. Choose another one for the host."
    ),
    "transport.mailroot_missing": _(
        "There is no directory %(mailroot)s on the host. Correct the MailRoot of the host."
    ),
    "transport.mailroot_moved": _(
        "%(mailroot)s is a link now, or is reached through one: it leads to %(real)s, so it is not "
        "followed. If that is where MailRoot is, edit the host and give the real directory."
    ),
    "transport.mailroot_outside": _(
        "%(mailroot)s is outside the directories in which MailRoots may be. Edit the host and give "
        "another one, or have the administrator of the portal extend XMAILADMIN_MAILROOT_BASES."
    ),
    "transport.bad_path": _("%(path)s could lead out of MailRoot, so it is not opened."),
    "transport.disk_full": _(
        "The disk of the host is full: %(path)s cannot be written. Make room on the disk that "
        "holds MailRoot, and try again."
    ),
    "transport.quota": _(
        "The disk quota is used up: %(path)s cannot be written. Raise the quota of the account "
        "that writes to MailRoot, or make room, and try again."
    ),
    "transport.read_only": _(
        "The file system that holds MailRoot is read-only: %(path)s cannot be written. Mount it "
        "for writing and try again."
    ),
    "transport.denied": _(
        "Permission denied: %(path)s. Give the account that the portal uses read and write access "
        "to MailRoot, MailRoot/sslconf and the files server.key and server.cert."
    ),
    "transport.owner": _(
        "%(path)s must belong to the user with number %(owner)s, so that XMail can read it, but "
        "the account that the portal uses cannot give files away. Use that user's account or root."
    ),
    "transport.io": _("%(path)s: the operating system reports: %(reason)s."),
    "transport.not_a_file": _(
        "%(path)s is not a file. Move away what has that name, and try again."
    ),
    "transport.not_a_directory": _(
        "%(path)s is not a directory of its own (but perhaps a link). Make it one, and try again."
    ),
    "transport.link_outside": _(
        "%(path)s is a link that leads out of MailRoot, so it is not followed. Put a file in its "
        "place, and try again."
    ),
    "transport.link_owner": _(
        "%(path)s belongs to another user than the link or directory that leads to it, so it is "
        "neither read nor changed. Give all of them to the owner of MailRoot, or to the user that "
        "XMail runs as (chown -h), and try again."
    ),
    "transport.too_large": _(
        "%(path)s is far too large for what it should hold. Look at it, move it away, and try "
        "again."
    ),
    "transport.too_many": _(
        "%(path)s holds more than %(most)s files, far too many for what it should hold. Look at "
        "it, clear it out, and try again."
    ),
    "transport.superseded": _(
        "Another installation has begun on this host in the meantime, so this one has stopped. "
        "See the installation history of the host."
    ),
    "transport.no_mode": _(
        "The portal cannot set permissions on this host, so those of %(path)s stay as they are."
    ),
    "transport.no_clear_channel": _("This host cannot be reached in another way. Try again later."),
    # SSH.
    "ssh.no_fingerprint": _(
        "No host key is registered for this host, so nothing is sent to it. Look at the identity "
        "on the host’s page, compare the fingerprint with the one on the server, and confirm it."
    ),
    "ssh.wrong_host_key": _(
        "The server shows another host key (%(met)s) than the one registered (%(expected)s), so "
        "nothing was sent to it. If the key was changed on purpose, look at the identity on the "
        "host’s page and confirm the new key there; if not, somebody may be in between."
    ),
    "ssh.wrong_jump_key": _(
        "The jump host %(address)s shows another host key (%(shown)s) than the one registered "
        "(%(expected)s), so nothing was sent to it. If the key was changed on purpose, enter the "
        "new fingerprint behind the jump host in the form of the host; if not, somebody may be in "
        "between."
    ),
    "ssh.no_common_algorithm": _(
        "The server knows none of the key exchanges and host key types that the portal accepts. "
        "Update the SSH server of the host."
    ),
    "ssh.bad_login": _(
        "%(address)s port %(port)s refuses the login of %(user)s. Correct the user name, password "
        "or private key of the host."
    ),
    "ssh.bad_private_key": _(
        "The private key for logging in cannot be opened: its passphrase is missing or wrong, or "
        "it is not a private key. Enter key and passphrase again."
    ),
    "ssh.slow_private_key": _(
        "Opening this private key would take %(rounds)s rounds; the portal does %(most)s at most. "
        "Make its passphrase anew with fewer (“ssh-keygen -p -a 100 -f FILE”) and enter the key "
        "again, or use a key for the portal alone."
    ),
    "ssh.long_private_key": _(
        "RSA keys over %(most)s bits are not accepted. Make a new key for the portal alone "
        "(“ssh-keygen -t ed25519 -f FILE”) and enter that one."
    ),
    "ssh.unused_private_key": _(
        "SSH does not use this kind of private key any more. Make a new one for the portal alone "
        "(“ssh-keygen -t ed25519 -f FILE”) and enter that one."
    ),
    "ssh.bad_jump": _(
        "%(jump)s is no jump host. Write user@host, or user@host:port followed by a space and the "
        "fingerprint of its host key."
    ),
    "ssh.jump_cannot_reach": _(
        "The jump host cannot reach %(address)s port %(port)s. Check the address, and whether the "
        "jump host may forward connections."
    ),
    "ssh.nobody_listens": _(
        "Nothing answers at %(address)s port %(port)s. Check the address and the port, and whether "
        "the SSH server is running."
    ),
    "ssh.no_answer": _(
        "No answer from %(address)s port %(port)s in time. Check the address, the firewall, and "
        "whether the server is running."
    ),
    "ssh.unreachable": _(
        "No SSH connection to %(address)s port %(port)s (%(reason)s). Check the address, the "
        "network and the SSH server."
    ),
    "ssh.nonsense": _(
        "What the server sends cannot be understood: it does not speak SSH as it should. Check "
        "the port, and the SSH server and what lies between."
    ),
    "sftp.no_sftp": _(
        "The login succeeded, but the server offers no file transfer (SFTP) to this account. "
        "Switch the sftp subsystem on, or use another account."
    ),
    "sftp.failure": _(
        "The server could not do it: %(path)s (%(reason)s). Look for a full disk, a quota, or "
        "missing permissions on MailRoot and MailRoot/sslconf."
    ),
    "sftp.silent": _(
        "The SSH server did not answer within %(seconds)s seconds. Check the host, and try again."
    ),
    "sftp.lost": _("The SSH connection broke. Check the network and the host, and try again."),
    # CTRL.
    "ctrl.no_fingerprint": _(
        "No certificate is registered for this host, so nothing is sent to it. Look at the "
        "identity on the host’s page, compare the fingerprint with the one on the server, and "
        "confirm it."
    ),
    "ctrl.wrong_certificate": _(
        "XMail presents another certificate (SHA-256 %(met)s) than the one registered for this "
        "host, so nothing was sent to it. If the pair was changed on purpose, look at the identity "
        "on the host’s page and confirm the new certificate there; if not, somebody may be in "
        "between."
    ),
    "ctrl.bad_login": _(
        "XMail refuses the CTRL login of %(user)s (%(reply)s). Correct the user name and password; "
        "they are in ctrlaccounts.tab on the host."
    ),
    "ctrl.bad_field": _(
        "%(field)s contains a quotation mark or a control character, which CTRL cannot carry. "
        "Correct it."
    ),
    "ctrl.turned_away": _(
        "XMail turns the portal away (%(reply)s). Allow the portal's address in ctrl.ipmap.tab on "
        "the host."
    ),
    "ctrl.busy": _(
        "XMail has as many CTRL sessions open as it allows (%(reply)s). Try again later; if that "
        "does not help, see who holds them, or restart XMail."
    ),
    "ctrl.cut_short": _(
        "XMail sent only a part of %(path)s, which holds %(size)s bytes. It does that when its "
        "disk is full. Make room on the disk that holds MailRoot, and try again."
    ),
    "ctrl.not_xmail": _(
        "What answers there is not XMail's CTRL service (%(reply)s). Check the port; CTRL's is "
        "6017 unless it was changed."
    ),
    "ctrl.nobody_listens": _(
        "Nothing answers at %(address)s port %(port)s. Check the address and the port, and whether "
        "XMail is running."
    ),
    "ctrl.no_answer": _(
        "No answer from %(address)s port %(port)s in time. Check the address, the firewall, and "
        "whether the server is running."
    ),
    "ctrl.unreachable": _(
        "No connection to %(address)s port %(port)s (%(reason)s). Check the address and the "
        "network."
    ),
    "ctrl.silent": _(
        "XMail did not answer within %(seconds)s seconds. Check the host, and try again."
    ),
    "ctrl.lost": _("The connection to XMail broke. Check the network and the host, and try again."),
    "ctrl.tls_off": _(
        "TLS is switched off for CTRL on this host. Set EnableCTRL-TLS to 1 in server.tab; a "
        "restart is not needed."
    ),
    "ctrl.tls_unusable": _(
        "XMail says that it is ready for TLS and then drops the connection: its pair is missing, "
        "does not match, or cannot be read. Install a pair by SFTP or by hand first, or allow the "
        "key over an unencrypted connection for this host."
    ),
    "ctrl.tls_failed": _(
        "The TLS handshake with XMail failed (%(reason)s). See the diagnosis of the host."
    ),
    "ctrl.refused_command": _("XMail refused a command: %(reply)s"),
    "ctrl.not_created": _(
        "XMail could not write %(path)s: its directory is missing, or XMail may not write there. "
        "CTRL cannot create directories; create it on the host, or give XMail access, and try "
        "again."
    ),
    "ctrl.no_copy": _(
        "XMail could not make the copy of %(path)s that it sends: it may not write into the "
        "directory tmp of MailRoot, or the file system is read-only. Give XMail access, and try "
        "again."
    ),
    "ctrl.not_in_clear": _(
        "%(path)s does not cross an unencrypted connection. Use TLS, or allow the key over an "
        "unencrypted connection for this host."
    ),
    "ctrl.no_clear_recovery": _(
        "The portal may not log in unencrypted to finish what was begun "
        "(XMAILADMIN_CTRL_CLEAR_RECOVERY)."
    ),
    "ctrl.lost_file": _(
        "XMail lost %(path)s on a full disk and could not write it back. Make room on the host, "
        "then roll the host back at once: the previous pair is kept in the portal. If XMail offers "
        "no TLS any more, copy both files of that pair to the host by hand."
    ),
}

"""Wording of what an installation does on a host and how it ends."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, Promise] = {
    # Steps.
    "install.connecting": _("Connecting to %(host)s (%(transport)s)."),
    "install.adopting": _("Keeping a record of the pair that is there now."),
    "install.staging": _("Writing the new files beside the old ones."),
    "install.switching": _("Switching the files over, first the key, then the certificate."),
    "install.removing": _("Removing the key and the certificate."),
    "install.mending_mode": _("Taking the key from others who can read it (mode %(mode)s)."),
    "install.finishing_in_clear": _(
        "Writing the certificate alone, which is public, because XMail offers no TLS while key "
        "and certificate do not match."
    ),
    "install.removing_in_clear": _(
        "Logging in unencrypted to take away what is left of the pair, because XMail offers no TLS "
        "without its key."
    ),
    "install.reading_back": _("Reading the files back and comparing them."),
    "install.verifying": _("Checking what the services present: %(endpoints)s."),
    "install.verifying_quiet": _("No service is registered that could be asked what it presents."),
    "install.restoring": _("Putting back what was there before."),
    "install.recording": _("Recording the outcome."),
    # Good ends.
    "install.installed": _("Installed, and presented by every service: %(endpoints)s."),
    "install.installed_quiet": _(
        "Installed and read back. No service is registered for this host that could be asked "
        "which certificate it presents."
    ),
    "install.installed_unproven": _(
        "Installed and read back, but these services do not present the certificate and did not "
        "work before either: %(endpoints)s. See the diagnosis of the host."
    ),
    "install.unchanged": _(
        "The pair was installed already, and every service presents it: %(endpoints)s."
    ),
    "install.unchanged_quiet": _(
        "The pair was installed already. No service is registered for this host that could be "
        "asked which certificate it presents."
    ),
    "install.unchanged_unproven": _(
        "The pair was installed already, but these services do not present it: %(endpoints)s. "
        "See the diagnosis of the host."
    ),
    "install.placed": _("Placed in sslconf and read back. It is not in use until it is installed."),
    "install.already_placed": _("The pair was in sslconf already."),
    "install.removed": _("The pair was removed. XMail offers no TLS until one is installed."),
    "install.nothing_there": _("There was no pair to remove."),
    # Put back.
    "install.endpoints_restored": _(
        "After the switch these services failed or presented another certificate: %(endpoints)s. "
        "What was there before has been put back, read back and checked. See what each service "
        "answered, mend that, and install again."
    ),
    "install.endpoints_unproven": _(
        "After the switch these services failed or presented another certificate: %(endpoints)s. "
        "What was there before has been put back and read back, but the services have not come "
        "back with it. See the diagnosis of the host."
    ),
    "install.endpoints_restore_failed": _(
        "After the switch these services failed or presented another certificate: %(endpoints)s. "
        "Putting back what was there before failed too. The previous pair is kept in the portal: "
        "roll the host back as soon as it can be written again."
    ),
    "install.read_back_restored": _(
        "The files read back were not those written. What was there before has been put back, "
        "read back and checked. Look for another program that writes to MailRoot, or for a disk "
        "that is full, and install again."
    ),
    "install.read_back_unproven": _(
        "The files read back were not those written. What was there before has been put back and "
        "read back, but the services have not come back with it. See the diagnosis of the host."
    ),
    "install.read_back_restore_failed": _(
        "The files read back were not those written, and putting back what was there before "
        "failed too. The previous pair is kept in the portal: look for a disk that is full or "
        "another program that writes to MailRoot, then roll the host back."
    ),
    "install.switch_restored": _(
        "The switch could not be completed. What was there before has been put back, read back "
        "and checked. Mend what the notes name, and install again."
    ),
    "install.switch_unproven": _(
        "The switch could not be completed. What was there before has been put back and read "
        "back, but the services have not come back with it. See the diagnosis of the host."
    ),
    "install.switch_restore_failed": _(
        "The switch could not be completed, and putting back what was there before failed too. "
        "Key and certificate on the host may not match. The previous pair is kept in the portal: "
        "mend what the notes name, then install again or roll the host back."
    ),
    # Failed otherwise.
    "install.unknown_state": _(
        "The connection broke during the switch and the host cannot be reached again, so key and "
        "certificate there may not match. Make the host reachable and install again: that finishes "
        "what was begun. The previous pair is kept in the portal."
    ),
    "install.by_hand": _(
        "The switch broke off and the portal cannot finish it: XMail offers no TLS, most likely "
        "because key and certificate on the host do not match. Finish it by hand: download the "
        "certificate from the page of the pair that is being installed and copy it to %(path)s on "
        "the host. Then look at the identity on the host’s page, confirm that certificate, and "
        "install again. If XMail still offers no TLS, copy the certificate of the previous pair "
        "instead."
    ),
    "install.by_hand_removal": _(
        "The removal broke off and the portal cannot finish it, because XMail offers no TLS. "
        "Finish it by hand: delete %(path)s on the host, and server.key if it is still there."
    ),
    "install.gave_up": _(
        "The host failed in the middle of the switch and could not be mended within %(seconds)s "
        "seconds. It is tried again by itself; if it fails every time, look at the host."
    ),
    "install.no_mailroot": _(
        "%(path)s holds no server.tab, so it is not a MailRoot and nothing was written there. "
        "Correct the MailRoot of the host, or put XMail's server.tab back."
    ),
    "install.not_confidential": _(
        "The connection is not encrypted, so no private key was sent or read. Use TLS or SFTP, or "
        "allow the key over an unencrypted connection for this host."
    ),
    # Notes.
    "install.not_serving": _(
        "These services do not present the previous certificate: %(endpoints)s."
    ),
    "install.mode_mended": _(
        "The private key could be read by others (mode %(mode)s). Its mode is 0600 now."
    ),
    "install.mode_stays": _(
        "The private key can be read by others (mode %(mode)s) and the host's file system did not "
        "accept another mode. Run on the host: chmod 600 %(path)s"
    ),
    "install.mode_needed": _(
        "With mode 0600 XMail could not read its private key any more, so the key has mode "
        "%(mode)s again, and others can read it, too. Make the user that XMail runs as the owner "
        "of %(path)s, and install again."
    ),
    "install.mode_0666": _(
        "XMail created the private key with mode 0666: every user of the host can read and write "
        "it. Run on the host: chmod 600 %(path)s"
    ),
    "install.mode_windows": _(
        "The portal cannot set permissions on Windows. Check that only XMail and the "
        "administrators can read %(path)s"
    ),
}

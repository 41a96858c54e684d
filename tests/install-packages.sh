#!/bin/sh
# Installs the servers and tools that tests run against, on Debian and Ubuntu, if any is missing.
# Anywhere else, or without the right to install, the tests that need a missing one skip and say so
# (with CI=true they fail).
set -eu

# One line a need: a command (looked for in PATH and the directories below) and its packages.
needs='chromium chromium
redis-server redis-server
postgres postgresql
sshd openssh-server
xgettext gettext
certtool gnutls-bin
certutil libnss3-tools
openssl openssl
curl curl
swaks swaks libnet-ssleay-perl
msmtp msmtp
mpop mpop
fetchmail fetchmail
getmail getmail6
neomutt neomutt
s-nail s-nail'
PATH="$PATH:/usr/sbin:/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')"

packages=$(echo "$needs" | while read -r command package; do
    command -v "$command" >/dev/null || echo "$package"
done)
[ -e /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc ] || packages="$packages fonts-noto-cjk"
packages=$(echo $packages)
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "tests: not Debian or Ubuntu; tests that need one of these will say so: $packages"
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    sudo=
elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
    sudo=sudo
else
    echo "tests: neither root nor sudo; tests that need one of these will say so: $packages"
    exit 0
fi

# The tests start servers of their own; Debian need not start its own and take their ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    trap '$sudo rm -f "$policy"' EXIT
fi

apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 "$@" </dev/null
}

log=$(mktemp)
echo "tests: installing $packages"
apt update >"$log" 2>&1 || true
if ! apt install --yes --no-install-recommends $packages >>"$log" 2>&1; then
    # One that this release does not have must not cost the others.
    for package in $packages; do
        apt install --yes --no-install-recommends "$package" >>"$log" 2>&1 ||
            echo "tests: could not install $package, see $log"
    done
fi

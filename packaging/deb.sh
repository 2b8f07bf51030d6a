#!/usr/bin/env bash
# usage: packaging/deb.sh BINARY [FOLDER]   makes flapscope_VERSION_ARCH.deb from a built program; needs dpkg-deb, no root and no network.
# What the program can say itself (manual, completions, catalog, sample configuration) is asked of it, so that package and program agree.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
binary=$1
folder=${2:-target}
mkdir -p "$folder"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/Cargo.toml" | head -1)
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }
say() { mkdir -p "$root/$(dirname "$1")"; cat > "$root/$1"; chmod 644 "$root/$1"; }

put 755 "$binary" usr/bin/flapscope
strip --strip-unneeded "$root/usr/bin/flapscope"
put 644 "$here/packaging/flapscope.service" lib/systemd/system/flapscope.service
put 644 "$here/packaging/flapscope.sysusers" usr/lib/sysusers.d/flapscope.conf
put 644 "$here/packaging/flapscope.logrotate" etc/logrotate.d/flapscope
"$binary" config sample | say etc/flapscope/flapscope.toml
"$binary" man | gzip -9n | say usr/share/man/man1/flapscope.1.gz
"$binary" completions bash | say usr/share/bash-completion/completions/flapscope
"$binary" completions zsh | say usr/share/zsh/vendor-completions/_flapscope
"$binary" completions fish | say usr/share/fish/vendor_completions.d/flapscope.fish
"$binary" catalog | say usr/lib/systemd/catalog/flapscope.catalog
doc=usr/share/doc/flapscope
for page in "$here"/docs/*.md; do put 644 "$page" "$doc/$(basename "$page")"; done
put 644 "$here/packaging/prometheus/flapscope.rules.yml" "$doc/examples/flapscope.rules.yml"
put 644 "$here/packaging/grafana/flapscope.json" "$doc/examples/grafana.json"
{ echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"; echo; echo "Files: *"; echo "Copyright: the flapscope authors"
  echo "License: Expat or Apache-2.0"; echo; sed 's/^$/./; s/^/ /' "$here/LICENSE-MIT"; echo " ."; echo " On Debian systems, the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0."; } | say "$doc/copyright"
printf 'flapscope (%s) unstable; urgency=medium\n\n  * See the repository.\n\n -- flapscope <flapscope@localhost>  Thu, 01 Jan 1970 00:00:00 +0000\n' "$version" | gzip -9n | say "$doc/changelog.gz"

# The library by the name that the program was linked with.
pcap=$(dpkg-query -S "$(ldd "$binary" | awk '/libpcap/ { print $3 }' | xargs -r readlink -f)" 2>/dev/null | cut -d: -f1 || true)
say DEBIAN/control <<CONTROL
Package: flapscope
Version: $version
Architecture: $arch
Maintainer: flapscope <flapscope@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6, ${pcap:-libpcap0.8}
Recommends: ca-certificates
Section: net
Priority: optional
Description: tells which routes are unstable, since when and why
 Watches kernel routes, DHCP, router advertisements, BGP and BFD of this
 host on one timeline, folds what one fault caused into one incident with
 its evidence, and takes alerts to Alertmanager, webhooks, syslog and
 other receivers. Captures are analysed by the same engine.
CONTROL
(cd "$root" && find etc -type f | sed 's|^|/|') | say DEBIAN/conffiles
say DEBIAN/postinst <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then systemd-sysusers flapscope.conf || true; fi
    if command -v journalctl >/dev/null; then journalctl --update-catalog >/dev/null 2>&1 || true; fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
        # Not enabled for whoever only analyses captures; a running one gets its new program.
        systemctl try-restart flapscope.service || true
    fi
fi
SCRIPT
say DEBIAN/prerm <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl stop flapscope.service || true; fi
SCRIPT
say DEBIAN/postrm <<'SCRIPT'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "$1" = purge ]; then rm -rf /var/lib/flapscope /etc/flapscope; fi
if command -v journalctl >/dev/null; then journalctl --update-catalog >/dev/null 2>&1 || true; fi
SCRIPT
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
out="$folder/flapscope_${version}_$arch.deb"
dpkg-deb --root-owner-group --build "$root" "$out" >/dev/null
echo "$out"

#!/bin/sh
# Serves the files in /var/files; the first start makes the folder.
set -eu
umask 022
mkdir -p /var/files /var/uploads
exec /usr/sbin/lighttpd -D -f /etc/lighttpd/lighttpd.conf

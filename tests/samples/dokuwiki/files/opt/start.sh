#!/bin/sh
# Serves DokuWiki with PHP's own web server; the first start lays out its writable folders in /var.
set -eu
if [ ! -d /var/lib/dokuwiki ]; then
    rm -rf /var/making
    mkdir -p /var/making /var/lib
    cp -R /usr/share/dokuwiki-var/. /var/making/
    chmod -R u+rwX /var/making
    # Renamed last: a start cut short is simply repeated.
    mv /var/making /var/lib/dokuwiki
fi
# DokuWiki brings index.php as the router for this server. Several workers, so that a page and the
# pictures in it do not wait for one another.
export PHP_CLI_SERVER_WORKERS=4
mkdir -p /var/tmp
cd /usr/share/dokuwiki
exec /usr/bin/php8.2 -c /etc/php/php.ini -S 127.0.0.1:8000 -t /usr/share/dokuwiki index.php

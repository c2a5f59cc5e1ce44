#!/bin/sh
# Starts TiddlyWiki's own server on the wiki kept in /var/wiki; the first start makes the wiki.
set -eu
edition=/usr/share/tiddlywiki/editions/server
if [ ! -e /var/wiki/tiddlywiki.info ]; then
    # The file that makes the folder a wiki comes last: a start cut short is simply repeated.
    mkdir -p /var/wiki/tiddlers
    cp "$edition/tiddlywiki.info" /var/wiki/tiddlywiki.info.new
    mv /var/wiki/tiddlywiki.info.new /var/wiki/tiddlywiki.info
fi
exec /usr/bin/node /usr/share/tiddlywiki/tiddlywiki.js /var/wiki --listen \
    host=127.0.0.1 port=8000 \
    authenticated-user-header=x-sandstorm-username "readers=(authenticated)" "writers=(authenticated)"

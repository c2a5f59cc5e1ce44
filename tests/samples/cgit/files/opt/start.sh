#!/bin/sh
# Serves the repositories in /var/repositories through cgit and git; the first start makes one with a short history.
set -eu
umask 022
export HOME=/var GIT_CONFIG_NOSYSTEM=1 CGIT_CONFIG=/etc/cgitrc
repository=/var/repositories/welcome.git
mkdir -p /var/uploads

commit() { # commit DATE MESSAGE: records everything in the current folder.
    git add --all
    GIT_AUTHOR_DATE="$1" GIT_COMMITTER_DATE="$1" git commit --quiet --message "$2"
}

if [ ! -d "$repository" ]; then
    rm -rf /var/making
    mkdir -p /var/making/work /var/repositories
    export GIT_AUTHOR_NAME="cgit grain" GIT_AUTHOR_EMAIL="grain@example.invalid"
    export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
    cd /var/making/work
    git init --quiet --template= --initial-branch main .
    cp /opt/welcome/README .
    commit "2026-01-05T09:00:00Z" "Say what this repository is for"
    cp /opt/welcome/hello.c .
    commit "2026-01-06T10:30:00Z" "Add a first program"
    cp /opt/welcome/hello-2.c hello.c
    commit "2026-01-07T11:45:00Z" "Greet the person by name"
    git clone --quiet --bare --template= . /var/making/welcome.git
    echo "A first repository, made when this grain was created" > /var/making/welcome.git/description
    # Renamed last: a start cut short leaves no half repository behind.
    cd /
    mv /var/making/welcome.git "$repository"
    rm -rf /var/making
fi
exec /usr/sbin/lighttpd -D -f /etc/lighttpd/lighttpd.conf

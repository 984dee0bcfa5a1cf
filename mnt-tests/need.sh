#!/bin/sh
# Says what this machine lacks to build and test AIOS, and installs it where it may (Debian, root).
set -u
missing=""
command -v go >/dev/null 2>&1 || { echo "need: Go 1.26 or newer is not installed: https://go.dev/doc/install" >&2; exit 1; }
command -v fusermount3 >/dev/null 2>&1 || missing="$missing fuse3"
command -v git >/dev/null 2>&1 || missing="$missing git"
command -v getfattr >/dev/null 2>&1 || missing="$missing attr"
command -v setfacl >/dev/null 2>&1 || missing="$missing acl"
command -v setpriv >/dev/null 2>&1 || missing="$missing util-linux"
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "need: installing$missing"
		apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
			echo "need: could not install$missing" >&2; exit 1; }
	else
		echo "need: please install:$missing   (Debian: sudo apt-get install$missing)" >&2
		exit 1
	fi
fi
if [ ! -c /dev/fuse ]; then
	echo "need: /dev/fuse is missing: sudo modprobe fuse (in a container: --device /dev/fuse)" >&2
	exit 1
fi

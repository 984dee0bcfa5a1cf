#!/bin/sh
# Says what this machine lacks to build AIOS and run it, and with `test` to test it as
# well, and installs that where it may (Debian, root); with `kde` a desktop without a
# screen for the test with Dolphin, 250 MB; with `long` the programs that the long tests
# run on a mount. Usage: need.sh [test|long|kde]
set -u
command -v go >/dev/null 2>&1 || { echo "need: Go 1.26 or newer is not installed: https://go.dev/doc/install" >&2; exit 1; }
missing=""
# need PROGRAM PACKAGE: the tests call the program
need() { command -v "$1" >/dev/null 2>&1 || case " $missing " in *" $2 "*) ;; *) missing="$missing $2" ;; esac; }
need fusermount3 fuse3
need mount mount
need git git
if [ "${1:-}" = test ] || [ "${1:-}" = long ]; then
	need getfattr attr
	need setfacl acl
	need setpriv util-linux
	need python3 python3-minimal
	need sqlite3 sqlite3
	need ps procps
	need rsync rsync
	need gcc gcc # the race detector needs a C compiler and its library
	[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
fi
if [ "${1:-}" = long ]; then
	need fio fio
	need stress-ng stress-ng
	need ed ed
	need vim vim
	need dpkg-deb dpkg
fi
if [ "${1:-}" = kde ]; then
	need dolphin dolphin
	need kioclient5 kde-cli-tools
	need Xvfb xvfb
	need openbox openbox
	need xdotool xdotool
	need import imagemagick
	need dbus-send dbus-x11
	need getfattr attr
	need update-mime-database shared-mime-info
	[ -d /usr/share/icons/breeze ] || missing="$missing breeze-icon-theme"
	[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || missing="$missing fonts-dejavu-core"
	dpkg -s kio-extras >/dev/null 2>&1 || missing="$missing kio kio-extras dolphin-plugins"
fi
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

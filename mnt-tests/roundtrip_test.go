package mnttests

import (
	"os"
	"os/exec"
	"testing"
)

// Trees go onto the mount and off it again by every road that people use, without a word of
// complaint and with all that they had: names, kinds, bytes, hard links, modes, owners,
// times, lists of access rights and extended attributes (F-107).
func TestTreesGoInAndOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files away: needs root")
	}
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	t.Cleanup(func() { stopMount(t, p, daemon) })
	t.Log("proves: F-107")
	const script = `
set -eu
mkdir src && cd src
mkdir -p a/b/c empty && chmod 2751 a/b && chmod 1777 empty
for n in 0 1 700 4096 70000 1500000; do head -c $n /dev/urandom > a/f$n; done
truncate -s 3M a/sparse; printf x | dd of=a/sparse bs=1 seek=2000000 conv=notrunc status=none
ln a/f700 a/b/c/hard; ln -s ../a/f700 empty/soft; ln -s nowhere a/dangling; mkfifo a/fifo
touch 'a/two words' "$(printf 'a/line\nbreak')" "$(printf 'a/\377\376')"
chmod 4755 a/f1; chmod 0 a/f0; chown 60101:60102 a/f4096; chown -h 60102:60101 a/dangling
setfattr -n user.note -v 'a value' a/f700; setfattr -n user.empty a/f700; setfattr -n user.xdg.tags -v blue,green,red a/f4096; setfattr -n trusted.k -v v a/b
setfacl -m u:60101:rw,g:60102:r a/f1; setfacl -d -m u:60103:rwx,g::r-x a/b
touch -h -d '2001-01-01 01:01:01.5' a/dangling empty/soft a/fifo; touch -d '1999-12-31 23:59:59.123456789' a/f700 a/f0
touch -d '2020-02-02 02:02:02.000000001' empty a/b/c a/b a .
cd ..
# What a tree is: all that stat tells of each name, the bytes, the attributes, the lists.
tells() { ( cd "$1"
	find . -printf '%p %y %m %U %G %s %n %l %T@\n' | awk '{ if ($2 == "d") $6 = "-"; print }' | sort
	find . -type f -exec sha256sum {} + | sort
	find . ! -type l -exec getfattr -h -d -m '^(user|trusted)\.' --absolute-names {} + | sort
	find . ! -type l -exec getfacl -n --absolute-names {} + | sort
	[ a/f700 -ef a/b/c/hard ] ); }
tells src > want
same() { tells "$2" > got || { echo "$1: the tree cannot be read"; exit 1; }; diff want got || { echo "$1: not the same tree"; exit 1; }; }
# quiet COMMAND...: no word of complaint
quiet() { "$@" > said 2>&1 || { echo "$*: $(cat said)"; exit 1; }; [ ! -s said ] || { echo "$* says: $(cat said)"; exit 1; }; }
quiet rsync -aHAXS src/ "$M/rsynced/"; same 'rsync in' "$M/rsynced"
quiet rsync -aHAXS "$M/rsynced/" out.rsync/; same 'rsync out' out.rsync
quiet rsync -aHAX --delete src/ "$M/rsynced/"; same 'rsync again' "$M/rsynced"
[ -z "$(rsync -aHAX -n -i --delete src/ "$M/rsynced/")" ] || { echo 'rsync finds something to do where nothing is'; exit 1; }
mkdir "$M/untarred" out.tar
quiet sh -c 'tar --xattrs --xattrs-include="*" --acls -cf - -C src . | tar --xattrs --xattrs-include="*" --acls -xpf - -C "$M/untarred"'; same 'tar in' "$M/untarred"
quiet sh -c 'tar --xattrs --xattrs-include="*" --acls -cf - -C "$M/untarred" . | tar --xattrs --xattrs-include="*" --acls -xpf - -C out.tar'; same 'tar out' out.tar
quiet cp -a src "$M/copied"; same 'cp -a in' "$M/copied"
quiet cp -a "$M/copied" out.cp; same 'cp -a out' out.cp
quiet cp -a "$M/copied" "$M/again"; same 'cp -a within' "$M/again"
cp -a src move
quiet mv move "$M/moved"; [ ! -e move ]; same 'mv in' "$M/moved"
quiet mv "$M/moved" "$M/elsewhere"; same 'mv within' "$M/elsewhere"
quiet mv "$M/elsewhere" back; [ ! -e "$M/elsewhere" ]; same 'mv out' back
quiet rm -rf "$M"/rsynced "$M"/untarred "$M"/copied "$M"/again
`
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "M="+p.path("mnt", "groups/local/shared"), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

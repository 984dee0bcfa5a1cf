package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programs are real ones, each in a directory of its own on the mount, $D; $T is one on the
// local disk. They end with an error if anything is not as on a local disk.
var programs = []struct {
	name   string
	needs  []string
	limit  time.Duration
	script string
}{
	{"git", []string{"git"}, 5 * time.Minute, `
		export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
		git init -q -b main src && cd src
		for c in 1 2 3 4 5; do
			for d in 1 2 3 4 5 6 7 8; do
				mkdir -p d$d/$c
				for f in $(seq 40); do echo "commit $c file $f of $d" > d$d/$c/$f; done
				echo "line $c" >> d$d/log
			done
			git add . && git commit -qm "commit $c"
		done
		cd .. && git clone -q src dst && git clone -q --bare --no-local src bare.git
		cd dst && test -z "$(git status --porcelain)" && git fsck --strict --full 2>/dev/null
		test "$(git rev-list --objects --all | wc -l)" -gt 1600
		git gc -q --aggressive --prune=now && git fsck --strict --full 2>/dev/null
		git checkout -q -b other HEAD~2 && git checkout -q main && git worktree add -q ../wt other
		git repack -adfq && git bundle create -q ../all.bundle --all && git clone -q ../all.bundle ../again
		diff -r --exclude .git ../src .`},
	{"go build and test with GOCACHE on the mount", []string{"go"}, 10 * time.Minute, `
		export GOCACHE=$D/cache GOTMPDIR=$D/tmp GOFLAGS=-mod=mod GOPROXY=off
		mkdir -p tmp m/words && cd m
		printf 'module example.com/m\n\ngo 1.26\n' > go.mod
		printf 'package main\n\nimport (\n\t"encoding/json"\n\t"net/http"\n\t"os"\n\n\t"example.com/m/words"\n)\n\nfunc main() { _ = json.NewEncoder(os.Stdout).Encode(words.Count("a b c")); _ = http.MethodGet }\n' > main.go
		printf 'package words\n\nimport "strings"\n\nfunc Count(s string) int { return len(strings.Fields(s)) }\n' > words/words.go
		printf 'package words\n\nimport "testing"\n\nfunc TestCount(t *testing.T) { if Count("a b") != 2 { t.Fatal() } }\n' > words/words_test.go
		go build -o m . && test "$(./m)" = 3 && go vet ./... && go test ./... && go test ./... | grep -q cached
		sed -i s/Fields/SplitN/\;s/s\)\)/s,\ "\"\ \"",\ 9\)\)/ words/words.go && go build -o m2 . && test "$(./m2)" = 3`},
	{"SQLite with a write-ahead log", []string{"sqlite3"}, 5 * time.Minute, `
		sqlite3 t.db 'pragma journal_mode=wal; create table t(id integer primary key, who int, text blob)' > /dev/null
		writer() { for i in $(seq 40); do
			sqlite3 -cmd '.timeout 60000' t.db "begin immediate; insert into t(who, text) select $1, randomblob(700) from generate_series(1, 25); commit;" || exit 1
		done; }
		writer 1 & a=$!; writer 2 & b=$!; writer 3 & c=$!
		for i in $(seq 20); do sqlite3 -cmd '.timeout 60000' t.db 'select count(*) % 25 from t' | grep -qx 0; done
		wait $a && wait $b && wait $c
		test "$(sqlite3 t.db 'select count(*) from t')" = 3000
		sqlite3 t.db 'pragma wal_checkpoint(truncate); pragma integrity_check' | grep -qx ok
		sqlite3 t.db 'pragma journal_mode=delete; delete from t where id % 3 = 0; vacuum; pragma integrity_check' | grep -qx ok
		sqlite3 t.db 'pragma journal_mode=memory; pragma mmap_size=268435456; update t set text = zeroblob(100); pragma integrity_check' | grep -qx ok`},
	{"tar and rsync", []string{"tar", "rsync", "setfattr", "setfacl"}, 5 * time.Minute, `
		mkdir src && cd src && mkdir -p a/b/c e && chmod 2751 a/b && chmod 1777 e
		for i in $(seq 200); do head -c $((i * i)) /dev/urandom > a/b/f$i; done
		head -c 3000000 /dev/urandom > a/big && truncate -s 20M a/sparse && echo x | dd of=a/sparse bs=1 seek=9000000 conv=notrunc status=none
		ln a/big a/b/c/hard && ln -s ../a/big e/soft && ln -s nowhere e/dangling && mkfifo e/fifo && touch 'e/a b' "$(printf 'e/\377\n')"
		chmod 4755 a/b/f1 && chmod 0 a/b/f2 && chown 60101:60102 a/b/f3 && setfattr -n user.k -v 'a value' a/b/f4 && setfacl -m u:60101:rw,g:60102:r a/b/f5 && setfacl -d -m u:60103:rx a/b/c && mknod e/null c 1 3
		touch -d '1999-12-31 23:59:59.123456789' a/b/f5 a/b && touch -h -d '2001-01-01 01:01:01.5' e/soft && cd ..
		same() { out=$(rsync -aHAX --checksum --delete -n -i "$1/" "$2/"); test -z "$out" || { echo "$1 and $2 differ: $out"; exit 1; }; }
		rsync -aHAXS src/ $T/r1 && same src $T/r1 && rsync -aHAXS $T/r1/ r2 && same $T/r1 r2
		mkdir t1 $T/t2 && tar --acls --xattrs -cpf - -C src . | tar --acls --xattrs -xpf - -C t1 && same src t1
		tar --acls --xattrs -cSpf all.tar -C src . && tar --acls --xattrs -xpf all.tar -C $T/t2 && same src $T/t2
		test $(stat -c %b a/sparse 2>/dev/null || stat -c %b t1/a/sparse) -ge 0
		cp -a src c1 && same src c1 && cp -a --reflink=auto --sparse=always src c2 && same src c2
		test $(stat -c %h c1/a/big) = 2 && rsync -aHAX --inplace --no-whole-file --checksum $T/r1/ c1 && same $T/r1 c1`},
	{"editors", []string{"ed", "vim"}, time.Minute, `
		printf 'one\ntwo\n' > f && printf '1s/one/ONE/\nw\nq\n' | ed -s f && test "$(head -1 f)" = ONE
		for opt in 'set nobackup' 'set backup' 'set backupcopy=yes' 'set backupcopy=no' 'set nowritebackup'; do
			vim -u NONE -es -c "$opt" -c '%s/two/three/e' -c '$put =\"more\"' -c 'wq' f || exit 1
		done
		test "$(grep -c more f)" = 5 && grep -q three f && ! ls -A | grep -q swp
		sed -i s/three/four/ f && perl -i -pe s/four/five/ f && grep -q five f`},
	{"packages", []string{"apt-get", "dpkg-deb"}, 3 * time.Minute, `
		timeout 60 apt-get download hello > /dev/null 2>&1 || { echo "no packages can be had here"; exit 77; }
		dpkg-deb -x hello_*.deb x && dpkg-deb -x hello_*.deb $T/x && diff -r x $T/x && ./x/usr/bin/hello | grep -q Hello`},
	{"fio", []string{"fio"}, 10 * time.Minute, `
		for engine in psync mmap libaio; do for rw in randwrite write randrw; do
			fio --name=v --directory=. --ioengine=$engine --rw=$rw --size=16m --bs=4k-64k --verify=crc32c --do_verify=1 --verify_fatal=1 --fallocate=none --numjobs=2 --fsync=64 --minimal > out 2>&1 || { echo $engine $rw; cat out; exit 1; }
			rm -f v.*
		done; done
		fio --name=d --directory=. --ioengine=libaio --direct=1 --iodepth=8 --rw=randwrite --size=32m --bs=4k --verify=crc32c --verify_fatal=1 --minimal > out 2>&1 || { cat out; exit 1; }`},
	// Those left out work on the machine and not in a directory. The last run is all at once.
	{"stress-ng", []string{"stress-ng"}, 20 * time.Minute, `
		left=bind-mount,binderfs,eventfd,ioprio,procfs
		bad= sizes="--hdd-bytes 8m --iomix-bytes 16m --copy-file-bytes 128m --fallocate-bytes 8m --dirdeep-inodes 500"
		run() { timeout 120 stress-ng "$@" --verify --temp-path . $sizes -q > $T/out 2>&1 || { bad="$bad $*"; cat $T/out; }; }
		all=$(stress-ng --class 'filesystem?' | sed "s/.*: //" | tr ' ' '\n' | grep -vxE "${left//,/|}")
		test "$(echo "$all" | wc -l)" -gt 40
		for s in $all aio aiol io-uring readahead revio seek sendfile splice tee; do
			run --$s 2 --timeout 3
		done
		for o in direct wr-rnd,rd-rnd,fsync dsync,iovec syncfs,utimes noatime,sync,fadv-dontneed; do run --hdd 2 --hdd-opts $o --timeout 3; done
		for o in --mmap-async --mmap-odirect --mmap-osync --mmap-mprotect; do run --mmap 2 --mmap-bytes 8m --mmap-file $o --timeout 3; done
		run --msync 2 --timeout 3
		run --all 1 --class filesystem --exclude $left --timeout 30
		test -z "$bad" || { echo "failed:$bad"; exit 1; }
		test -z "$(ls -A)" || { echo "left behind: $(ls -A)"; exit 1; }`},
}

// Programs that people use every day, on the mount as on a local disk.
func TestRealPrograms(t *testing.T) {
	if os.Getenv("AIOS_LONG") == "" {
		t.Skip("takes minutes: AIOS_LONG=1")
	}
	p := newPeople(t)
	for i, g := range programs {
		t.Run(g.name, func(t *testing.T) {
			for _, name := range g.needs {
				if _, err := exec.LookPath(name); err != nil {
					t.Skipf("%s is missing", name)
				}
			}
			dir, local := filepath.Join(p.dir, "groups/local/shared", fmt.Sprint("p", i)), t.TempDir()
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("timeout", "-k", "10", fmt.Sprint(int(g.limit.Seconds())), "bash", "-e", "-c", g.script)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "D="+dir, "T="+local)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 77 {
				t.Skip(strings.TrimSpace(string(out)))
			}
			if err != nil {
				t.Errorf("%v: %s", err, out[max(0, len(out)-4000):])
			}
		})
	}
	if code, out, stderr := run(t, p.bin, "status", "--mount", p.dir); code != 0 {
		t.Errorf("status afterwards: %d %s %s", code, out, stderr)
	}
}

# AIOS. `make demo` shows it, `make test` checks it; `make help` lists the rest.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.version=$(VERSION)
OUT      = mnt-tests/out
PREFIX  ?= /usr/local
# Where PEERS.SH of the benchmark set stands; without it `make bench` runs the Go benchmarks alone.
PEERS   ?= ../shared/bench/peers.sh

.PHONY: help build demo test test-long race bench scale pgo lint run install clean checklist need need-test need-long need-kde posix

help:
	@echo "make demo       build, mount, run a goal, deny one, roll one back, verify the log, clean up"
	@echo "make test       every test that fits into 15 minutes"
	@echo "make test-long  the long ones: crashes by the hundred, big trees, Dolphin if it is there (make need-kde installs it)"
	@echo "make race       the short tests under the race detector"
	@echo "make bench      benchmarks, and the mount beside go-fuse's loopback"
	@echo "make scale      how cost grows: big stores, a crowded directory, many versions, a real history"
	@echo "make pgo        cmd/aios/default.pgo anew, the profile that the compiler goes by"
	@echo "make posix      pjdfstest on a mount: PJDFSTEST=<its built checkout>"
	@echo "make checklist  what the last test run proves of the reference"
	@echo "make lint       vet, staticcheck, gofmt"
	@echo "make run        mount at /tmp/aios in the foreground"
	@echo "make install    into $(PREFIX)/bin, with mount.aios"

need:
	@sh mnt-tests/need.sh

need-test:
	@sh mnt-tests/need.sh test

need-long:
	@sh mnt-tests/need.sh long

# Dolphin and a display without a screen, 250 MB, for TestDolphin of test-long.
need-kde:
	@sh mnt-tests/need.sh kde

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/aios ./cmd/aios

demo: need build
	@sh mnt-tests/demo.sh bin/aios

test: need-test build
	@mkdir -p $(OUT)
	@rm -f $(OUT)/failed
	@($(GO) test -json -timeout 40m ./... || touch $(OUT)/failed) | $(GO) run ./mnt-tests/checklist -record $(OUT)/test.jsonl
	@test ! -e $(OUT)/failed
	@$(GO) run ./mnt-tests/checklist -report $(OUT)/test.jsonl -brief

test-long: need-long build
	@mkdir -p $(OUT)
	@rm -f $(OUT)/failed
	@(AIOS_LONG=1 $(GO) test -json -timeout 150m ./... || touch $(OUT)/failed) | $(GO) run ./mnt-tests/checklist -record $(OUT)/test-long.jsonl
	@test ! -e $(OUT)/failed

# The packages as they are; of the tests through a mount those named here, with daemons
# that are built with the detector (see mnt-tests/main_test.go).
RACE_MOUNT = TestF90_|TestF91_|TestHundredScripts|TestActions25_|TestViewsFollow|TestSpoolTakesWhat|TestPolicyBundle|TestTwoPeopleApprove

race: need-test
	$(GO) test -race -short -timeout 40m $$($(GO) list ./... | grep -v /mnt-tests$$)
	AIOS_RACE=1 $(GO) test -short -timeout 40m -run '$(RACE_MOUNT)' ./mnt-tests

posix: build
	@sh mnt-tests/posix.sh bin/aios $(PJDFSTEST)

bench: need build
	@sh mnt-tests/bench.sh bin/aios $(PEERS)

# How cost grows with the store; SCALE='-sizes 1000,100000,1000000,5000000 -crowd 1000000 -versions 10000' is the long one.
SCALE ?= -sizes 1000,100000 -crowd 100000 -versions 1000 -history .
scale: need build
	@mkdir -p $(OUT)
	@$(GO) run ./mnt-tests/scale $(SCALE) bin/aios | tee $(OUT)/scale.tsv

pgo: need build
	@sh mnt-tests/pgo.sh bin/aios $(PEERS)

checklist:
	@$(GO) run ./mnt-tests/checklist -report $(OUT)/test.jsonl

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go') | tee /dev/stderr)" || (echo "run gofmt -w on these" >&2; exit 1)
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

run: need build
	@mkdir -p /tmp/aios
	bin/aios mount --state /tmp/aios.state /tmp/aios

install: build
	install -D -m 0755 bin/aios $(DESTDIR)$(PREFIX)/bin/aios
	install -d $(DESTDIR)/sbin
	ln -sf $(PREFIX)/bin/aios $(DESTDIR)/sbin/mount.aios
	ln -sf $(PREFIX)/bin/aios $(DESTDIR)/sbin/mount.fuse.aios
	install -D -m 0644 cmd/aios/packaging/aios.service $(DESTDIR)$(PREFIX)/lib/systemd/system/aios.service

clean:
	rm -rf bin dist $(OUT)

# Two commands matter: 'make demo' and 'make test'. Both install what is missing, and are quick the
# second time.

SHELL := /bin/bash
PREFIX ?= /usr/local
TARGET := x86_64-unknown-linux-gnu
CARGO_TARGET_DIR ?= $(CURDIR)/build/target
export CARGO_TARGET_DIR
# A Rust tool chain that tools/packages has just installed is not on the caller's PATH yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
BIN := build/bin

# How long 'make fuzz' tries each target.
SECONDS ?= 600

.PHONY: help demo test check unit e2e e2e-inside soak fuzz fuzz-smoke bench budgets build kernel samples attacker packages packages-test install clean

help:
	@echo "make demo     install what is missing, build, run a container in a microVM"
	@echo "make test     check, unit, fuzz-smoke, budgets, e2e-inside and e2e"
	@echo "make build    the programs, into $(BIN)"
	@echo "make check    formatting, lints, documentation, dependencies and their licences"
	@echo "make unit     unit tests"
	@echo "make e2e      end-to-end tests"
	@echo "make e2e-inside   a choice of them inside machines with a KVM that works, on two kernels"
	@echo "make soak     what repeats hundreds of times or moves gigabytes: hours"
	@echo "make fuzz     random input for every reader of hostile bytes, SECONDS ($(SECONDS)) for each"
	@echo "make bench    a start beside other runtimes, in a time that a busy machine cannot disturb"
	@echo "make budgets  fails when a start, or a file, is larger than SPECIFICATION.md allows"
	@echo "make install  into PREFIX ($(PREFIX)), after make build"
	@echo "make clean    remove what was built here"

demo: packages build
	@tools/demo $(BIN)

# What compiles and what runs in virtual time, which no other work disturbs, shares this machine's processors.
# The end-to-end tests come by themselves, and last: their summary is the last line.
BEFORE := check unit fuzz-smoke budgets e2e-inside
test: packages-test
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target $(BEFORE)
	@$(MAKE) --no-print-directory e2e

packages:
	@tools/packages build

packages-test: packages
	@tools/packages test

# The init is static, for a guest that has no libraries; the monitor and the keeper too, since loading libraries is
# a fifth of a monitor's start before the guest's, and they use nothing of the system's but calls of the kernel.
# The command is dynamic, so that the system's resolver and its fixes are used.
build: packages
	@echo "building coracle, coracle-bench, coracle-keeper, coracle-vmm and coracle-init"
	@cargo build --quiet --release --package coracle --package coracle-bench
	@RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --package coracle-init --package coracle-vmm --target $(TARGET)
	@RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --package coracle-keeper --target $(TARGET)
	@mkdir -p $(BIN)
	@install -C $(CARGO_TARGET_DIR)/release/coracle $(CARGO_TARGET_DIR)/release/coracle-bench \
		$(CARGO_TARGET_DIR)/$(TARGET)/release/coracle-keeper $(CARGO_TARGET_DIR)/$(TARGET)/release/coracle-init \
		$(CARGO_TARGET_DIR)/$(TARGET)/release/coracle-vmm $(BIN)

check: packages
	@echo "checking formatting, lints and documentation"
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items
	@cargo test --quiet --package coracle-tests --test architecture --bins
	@tools/lint-text

unit: packages-test
	@echo "running unit tests"
	@cargo test --quiet --workspace --exclude coracle-tests
	@if [[ $$EUID == 0 ]] && grep -q ' cgroup2 ' /proc/mounts; \
	then cargo test --quiet --package coracle-init --test containers -- --ignored; \
	else echo "skipped containers without a microVM: they need root and a version 2 cgroup hierarchy"; fi

samples: packages-test
	@tools/samples build/samples

# What attacks from inside of guests: static, as what runs there has no libraries. It is never installed.
attacker: packages-test
	@echo "building the attacker"
	@RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --package coracle-hostile --target $(TARGET)
	@mkdir -p build/samples
	@install -C $(CARGO_TARGET_DIR)/$(TARGET)/release/attacker build/samples

e2e: build samples attacker
	@tools/e2e $(BIN) build/samples

# The same tests, a choice of them, where monitors run as on a system whose KVM works.
e2e-inside: build samples attacker
	@echo "running end-to-end tests inside machines"
	@tools/e2e-inside $(BIN) build/samples

# What repeats hundreds of times or moves gigabytes: the same tests and assertions, by these numbers. For
# hours, and before a release.
SOAK := CORACLE_TEST_STARTS=500 CORACLE_TEST_JOBS=200 CORACLE_TEST_ROUNDS=30 CORACLE_TEST_DEPTH=25 \
	CORACLE_TEST_STREAM_MIB=4096
SOAK_TESTS := crashes:: hosts:: leftovers:: neighbours:: scenes:: streams:: registry::killed
soak: build samples attacker
	@$(SOAK) CORACLE_TEST_HOSTS=$$(nproc) tools/e2e $(BIN) build/samples $(SOAK_TESTS)
	@tools/fuzz $(SECONDS)

fuzz: packages-test
	@tools/fuzz $(SECONDS)

# A few seconds for each, so that the targets stay whole; where a nightly tool chain is at hand. Those of fuzz/
# are functions of the command's, all of which would have to be compiled anew: unit tests feed them with noise.
fuzz-smoke:
	@if cargo +nightly --version >/dev/null 2>&1; then FUZZ_WITHOUT=fuzz tools/fuzz 3; \
	else echo "skipped fuzzing: no nightly tool chain (rustup toolchain install nightly)"; fi

kernel: build
	@$(BIN)/coracle kernel build >/dev/null

bench: build kernel samples
	@$(BIN)/coracle image ls --quiet busybox | grep -q . || $(BIN)/coracle load --quiet --input build/samples/busybox.tar
	@$(BIN)/coracle bench --virtual-time --json build/bench.json --csv build/bench.csv --html build/bench.html

budgets: build kernel samples
	@echo "checking budgets in virtual time"
	@CORACLE_TEST_BIN=$(CURDIR)/$(BIN) CORACLE_TEST_SAMPLES=$(CURDIR)/build/samples \
		cargo test --quiet --package coracle-tests --test budgets -- --nocapture

install:
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BIN)/coracle
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/libexec/coracle $(BIN)/coracle-keeper $(BIN)/coracle-vmm \
		$(BIN)/coracle-init $(BIN)/coracle-bench
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/user share/systemd/coracle.service \
		share/systemd/coracle-api.socket share/systemd/coracle-api.service
	$(BIN)/coracle man $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf build

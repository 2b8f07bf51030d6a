# What a person types. Each target installs what it lacks (.ci/packages lists it), says what it does, and can be run again at will.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# A fresh rustup is not yet in the PATH of this shell.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

TARGET := $(or $(CARGO_TARGET_DIR),target)
DEMO ?= captures/lease-expiry-breaks-bgp
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Debian's Python: a version manager's may be absent under sudo.
PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)

.PHONY: help demo build deb test lint bless matrix bench growth fuzz captures clean-lab check-corpus

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build the program and let it explain one recorded incident
	@.ci/install build
	@echo "building (once, some minutes) …" >&2
	@cargo build --profile quick --locked --quiet
	@echo "flapscope analyze $(DEMO)/*.pcap*" >&2
	@$(TARGET)/quick/flapscope analyze $(DEMO)/*.pcap*

build: ## the release binary
	@.ci/install build
	cargo build --release --locked

deb: build ## a Debian package of the release binary, in target/
	packaging/deb.sh $(TARGET)/release/flapscope $(TARGET)

test: ## everything that needs no root; with root also real daemons in network namespaces
	@.ci/install test
	@if command -v cargo-nextest >/dev/null; then \
		echo "cargo nextest run --locked" >&2; cargo nextest run --locked --no-fail-fast && cargo test --locked --doc --quiet; \
	else echo "cargo test --locked" >&2; cargo test --locked --no-fail-fast; fi

lint: ## formatting and clippy, warnings are errors
	@.ci/install build
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

bless: ## write the goldens of captures/ anew; read the diff before committing it
	BLESS=1 cargo test --locked --test captures
	@git --no-pager diff --stat -- captures

matrix: ## every labelled scenario, transformed in every way: what must remain of its verdict (minutes); the labelled corpus too, where it is
	MATRIX=all FLAPSCOPE_CORPUS="$${FLAPSCOPE_CORPUS:-$$(cd ../shared/corpus 2>/dev/null && pwd)}" cargo test --locked --test metamorphic -- --nocapture

bench: ## the benchmarks
	@.ci/install build
	cargo bench --locked

growth: ## whether an event costs the same however full the tables are (valgrind; some minutes)
	@command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind" >&2; exit 1; }
	@cargo build --release --locked --quiet
	$(PYTHON) benches/growth.py $(TARGET)/release/flapscope

fuzz: ## each decoder for SECONDS_EACH (60) with cargo-fuzz, where fuzz/ and a nightly toolchain are there
	@test -d fuzz || { echo "no fuzz/ in this tree" >&2; exit 1; }
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2; exit 1; }
	@for t in $$(cargo +nightly fuzz list); do cargo +nightly fuzz run "$$t" -- -max_total_time=$${SECONDS_EACH:-60}; done

captures: ## record captures/ again with real daemons (root; about 20 minutes), or SCENARIOS='…' of them
	@.ci/install test
	$(SUDO) $(PYTHON) captures/record.py $(SCENARIOS)
	@[ -z "$(SUDO)" ] || sudo chown -R "$$(id -u):$$(id -g)" captures
	@$(MAKE) --no-print-directory clean-lab

clean-lab: ## remove namespaces that a killed recording left behind
	@$(SUDO) $(PYTHON) captures/record.py --clean

check-corpus: ## judge the program on a labelled corpus, where FLAPSCOPE_CORPUS (../shared/corpus) has one
	@.ci/corpus

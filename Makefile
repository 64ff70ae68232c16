# Two commands set everything up on a fresh Debian 12, as root: `make hello` and `make test`.

.PHONY: help hello test suites arm setup build install lint kernel bench large fuzz clean

help: ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

hello: ## install what is missing, build, start the daemon, run a container, stop
	scripts/setup hello
	scripts/build
	scripts/hello

test: ## everything that the tests need, then all checks and tests
	scripts/setup test
	scripts/test

suites: ## all that other projects' own tests of the API find (minutes)
	scripts/setup test
	scripts/suites

arm: ## what can be tried of aarch64 here, in emulated machines
	scripts/arm

setup: ## install the system packages that tests and benchmarks use
	scripts/setup test bench

build: ## optimised binaries, in target/dist
	scripts/build

install: build ## the binaries to /usr/local/bin
	install -m 0755 $(addprefix target/dist/,coracle coracled coracle-shim coracle-init) /usr/local/bin/

lint: ## rustfmt, clippy, rustdoc
	scripts/lint

kernel: ## the minimal kernel for virtual machines (10 to 45 minutes)
	scripts/setup kernel
	kernel/build

large: ## the large test image (minutes, gigabytes)
	scripts/setup test bench
	fixtures/make large

bench: build ## compare with what else is installed
	scripts/setup test bench
	bench/run

fuzz: ## run each fuzz target for a while
	fuzz/run

clean: ## remove what was built
	cargo clean

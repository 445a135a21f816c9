# Everything a developer or a CI does starts here: `make` lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

# What may be set: on the command line, `make e2e RUN=TestNodePort`, or in the environment. The
# control planes are those of the target that is made.
KUBERNETES ?= 1.37.2
CONTROL_PLANES ?= $(if $(filter lab-ha,$@),3,1)
WORKERS ?= 2
ARTIFACTS ?= auto
RUN ?= .
FUZZTIME ?= 30s
KILLS ?= 100
DROPS ?= 100
SEED ?=
LAB_FLAGS ?=
APPLY_FLAGS ?=
BENCH_FLAGS ?=

# HOME is unset in some containers, and the caches, Go's too, have to be somewhere.
HOME ?= $(CURDIR)/.home
KUBEWRIGHT_CACHE ?= $(HOME)/.cache/kubewright
export HOME KUBEWRIGHT_CACHE

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
KUBEWRIGHT := bin/kubewright
# On the command line only: `make lab LAB=FOLDER` makes, or goes on with, the lab in another folder.
LAB := .lab

# Tools have a module of their own, so that their dependencies are not ours. A binary is built
# once for each version of the tools and of Go.
TOOLS := $(KUBEWRIGHT_CACHE)/tools/$(shell cat tools/go.mod tools/go.sum | sha256sum | cut -c1-12)-$(shell go env GOVERSION)

.PHONY: help
help: ## list the targets
	@echo "usage: make TARGET [VARIABLE=VALUE...]"
	echo
	awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	echo
	echo "variables: RUN=$(RUN) FUZZTIME=$(FUZZTIME) ARTIFACTS=$(ARTIFACTS) (auto, upstream or build)"
	echo "           KUBERNETES=$(KUBERNETES) CONTROL_PLANES=$(CONTROL_PLANES) WORKERS=$(WORKERS)"
	echo "           KUBEWRIGHT_CACHE=$(KUBEWRIGHT_CACHE)"

.PHONY: build
build: ## build bin/kubewright
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(KUBEWRIGHT) ./cmd/kubewright
	echo "built $(KUBEWRIGHT) $(VERSION)"

.PHONY: test
test: ## run the unit tests with the race detector
	@go test -race -shuffle=on -timeout 20m ./...
	# Modules of their own, where they have tests.
	for module in $$(git ls-files '*/go.mod' | xargs -r -n1 dirname); do
		if [ -n "$$(find "$$module" -name '*_test.go' -print -quit)" ]; then
			(cd "$$module" && go test -shuffle=on ./...)
		fi
	done

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## run the linters
	@$(TOOLS)/golangci-lint run ./...

.PHONY: vuln
vuln: $(TOOLS)/govulncheck ## look for known vulnerabilities in dependencies (needs vuln.go.dev)
	@$(TOOLS)/govulncheck ./...

$(TOOLS)/%:
	@echo "building $* (once for each version of it; takes a few minutes)"
	mkdir -p $(TOOLS)
	package=$$(go -C tools list tool | grep '/$*$$')
	go -C tools build -trimpath -o $@ "$$package"

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -rn1 dirname | sort -u | while read -r package; do
		for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz'); do
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$package" </dev/null
		done
	done

# What the lab and the builds need of Debian's packages, where this is Debian or Ubuntu and we are
# root; elsewhere the lab and the builds name what they miss. Where Docker is what is there, podman
# is not brought in. The lab's packages come first: SOURCE is found out with one of them.
.PHONY: prerequisites lab-prerequisites
lab-prerequisites:
	@packages=e2e/lab/packages.txt
	$(install)

prerequisites: lab-prerequisites
	@if [ "$(SOURCE)" = upstream ]; then
		exit 0
	fi
	packages=e2e/artifacts/packages.txt
	$(install)

# install installs the packages that the file $$packages lists and that are not there.
define install
	wanted=$$(sed 's/#.*//' "$$packages")
	if ! command -v podman >/dev/null && docker info >/dev/null 2>&1; then
		wanted=$$(tr -s ' ' '\n' <<<"$$wanted" | grep -vxE 'podman|conmon|runc|netavark|aardvark-dns|containernetworking-plugins')
	fi
	if ! { command -v dpkg-query && command -v apt-get; } >/dev/null; then
		echo "not Debian or Ubuntu; if something is missing, look for:" $$wanted
		exit 0
	fi
	missing=""
	for name in $$wanted; do
		if [ "$$(dpkg-query -W -f '$${db:Status-Status}' "$$name" 2>/dev/null)" != installed ]; then
			missing="$$missing $$name"
		fi
	done
	if [ -z "$$missing" ]; then
		exit 0
	fi
	if [ "$$(id -u)" -ne 0 ]; then
		echo "missing packages; as root: apt-get install -y --no-install-recommends$$missing" >&2
		exit 1
	fi
	echo "installing$$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o DPkg::Lock::Timeout=300 update
	apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $$missing >/dev/null
endef

# Where files and images come from: SOURCE is upstream or build, asked for or found out once. It is
# not looked at before lab-prerequisites, which brings curl.
ifeq ($(ARTIFACTS),auto)
SOURCE = $(eval SOURCE := $(shell command -v curl >/dev/null || echo "no curl: upstream counts as out of reach" >&2; curl -fsSL --max-time 3 -o /dev/null https://dl.k8s.io/release/stable.txt 2>/dev/null && echo upstream || echo build))$(SOURCE)
else ifneq ($(filter $(ARTIFACTS),upstream build),)
SOURCE := $(ARTIFACTS)
else
$(error ARTIFACTS=$(ARTIFACTS): want auto, upstream or build)
endif

# What ARTIFACTS=auto comes to, for scripts that call make more than once.
.PHONY: source
source:
	@echo $(SOURCE)

.PHONY: artifacts
artifacts: prerequisites ## build what the lab installs, if it does not come from upstream
	@if [ "$(SOURCE)" = build ]; then
		echo "artifacts: building (upstream cannot be reached, or ARTIFACTS=build)"
		go run ./e2e/artifacts build -kubernetes $(KUBERNETES)
	else
		echo "artifacts: from upstream"
	fi

# What make has to be told to mean this lab.
OTHER_LAB := $(if $(filter-out .lab,$(LAB)), LAB=$(LAB))

.PHONY: lab lab-ha
lab: build artifacts ## make a real cluster on this machine, in LAB (.lab)
lab-ha: build artifacts ## the same with three control planes and a virtual IP; a lab in LAB grows to it
lab lab-ha:
	@if [ "$(SOURCE)" = build ]; then
		from="--artifacts $$KUBEWRIGHT_CACHE/artifacts"
		PATH="$$KUBEWRIGHT_CACHE/artifacts/bin:$$PATH"
	elif grep -qs '"artifacts":' $(LAB)/state.json; then
		echo "the lab in $(LAB) was made from built artifacts, and would keep them: remove it with" >&2
		echo "make lab-down$(OTHER_LAB), or say ARTIFACTS=build" >&2
		exit 1
	else
		from=""
	fi
	$(KUBEWRIGHT) lab up --dir $(LAB) --control-planes $(CONTROL_PLANES) --workers $(WORKERS) \
		--kubernetes-version $(KUBERNETES) $(if $(filter lab-ha,$@),--vip) --addons $$from $(LAB_FLAGS)
	$(KUBEWRIGHT) apply -f $(LAB)/cluster.yaml --yes $(APPLY_FLAGS)
	$(KUBEWRIGHT) kubeconfig -f $(LAB)/cluster.yaml --to $(LAB)/kubeconfig
	show() { kubectl --kubeconfig $(LAB)/kubeconfig "$$@"; }
	if ! command -v kubectl >/dev/null; then
		# The hosts have one. Only root may read its kubeconfig there; sudo asks nothing of root.
		node=$$($(KUBEWRIGHT) lab --dir $(LAB) status | awk '$$3 == "control-plane" && !n { n = $$1 } END { print n }')
		password=/dev/null
		if [ -e $(LAB)/sudo_password ]; then password=$(LAB)/sudo_password; fi
		show() {
			$(KUBEWRIGHT) lab --dir $(LAB) ssh "$$node" -- sudo -S -p "''" /usr/local/bin/kubectl \
				--kubeconfig /etc/kubernetes/admin.conf "$$@" <"$$password"
		}
	fi
	echo
	show get nodes -o wide
	echo
	show get pods -A
	echo # make drops empty lines of a recipe
	cat <<END
	The cluster is up. Try:
	  export KUBECONFIG=$(abspath $(LAB))/kubeconfig
	  $$(command -v kubectl || echo kubectl) get pods -A
	  bin/kubewright status -f $(LAB)/cluster.yaml
	  bin/kubewright lab$(if $(OTHER_LAB), --dir $(LAB)) ssh worker1
	README.md has a tour of ten minutes; make lab-down$(OTHER_LAB) removes the lab.
	END

.PHONY: lab-down
lab-down: build ## remove the lab
	@$(KUBEWRIGHT) lab down --dir $(LAB)

# The tests make labs of their own, beside the one of `make lab`, and remove them.
.PHONY: e2e
e2e: build artifacts ## run the end-to-end tests on labs of their own; RUN picks some
.PHONY: e2e-all
e2e-all: build artifacts ## run the long ones, too: two hours
e2e e2e-all:
	@if [ "$(SOURCE)" = upstream ]; then
		export KUBEWRIGHT_E2E_ARTIFACTS=upstream
	fi
	export KUBEWRIGHT_TEST_LAB=1 $(if $(filter e2e-all,$@),KUBEWRIGHT_E2E_LONG=1)
	# Two tests at a time of those that have labs of their own; the third waits for all others.
	go test -tags e2e -p 1 -parallel 3 -run '$(RUN)' -timeout $(if $(filter e2e-all,$@),180m,60m) -v -count=1 ./e2e/lab ./e2e

# Whole bring-ups, killed again and again, and cut off from a host for a minute in one phase after the
# other: ten kills take two and a half minutes on two cores, a phase two.
.PHONY: e2e-chaos
e2e-chaos: build artifacts ## kill KILLS runs of bring-ups at random moments, cut them off in DROPS phases; SEED makes them again
	@if [ "$(SOURCE)" = upstream ]; then
		export KUBEWRIGHT_E2E_ARTIFACTS=upstream
	fi
	export KUBEWRIGHT_E2E_LONG=1 KUBEWRIGHT_E2E_KILLS=$(KILLS) KUBEWRIGHT_E2E_DROPS=$(DROPS) KUBEWRIGHT_E2E_SEED=$(SEED)
	go test -tags e2e -run 'TestChaos|TestConnections' -timeout 5h -v -count=1 ./e2e

.PHONY: e2e-ha
e2e-ha: build artifacts ## let control planes die, and come and go, under clients that write, and measure how long they are interrupted
	@if [ "$(SOURCE)" = upstream ]; then
		export KUBEWRIGHT_E2E_ARTIFACTS=upstream
	fi
	export KUBEWRIGHT_E2E_LONG=1 KUBEWRIGHT_E2E_DEATHS=6 KUBEWRIGHT_E2E_GROWTH=5
	go test -tags e2e -run 'TestHighAvailability|TestGrowth|TestEndpointMigration|TestEtcdHosts|TestKubeVIP' -parallel 1 -timeout 120m -v -count=1 ./e2e

# kubeadm is no part of a cluster, so it is built here only.
.PHONY: bench bench-quick
bench: build artifacts ## measure kubewright against kubeadm and against the floor, into bench/results
bench-quick: build artifacts ## the same, once, and only what is most telling
bench bench-quick:
	@from=""
	if [ "$(SOURCE)" = build ]; then
		go run ./e2e/artifacts build -kubernetes $(KUBERNETES) -only kubeadm
		from="-artifacts $$KUBEWRIGHT_CACHE/artifacts"
	fi
	go run ./bench -kubernetes $(KUBERNETES) $(if $(filter bench-quick,$@),-quick) $$from $(BENCH_FLAGS)

.PHONY: bench-go
bench-go: ## run the benchmarks of the packages
	@go test -run '^$$' -bench . -benchmem ./...

.PHONY: generate
generate: ## write the generated files anew
	@go generate ./...

.PHONY: verify
verify: ## check that generated files, go.mod and formatting are up to date, and vet
	@state() { git status --porcelain; git diff; }
	before=$$(state)
	go generate ./...
	if [ "$$before" != "$$(state)" ]; then
		git status --short
		echo "generated files are out of date: run make generate and commit" >&2
		exit 1
	fi
	go mod tidy -diff
	unformatted=$$(git ls-files '*.go' | xargs gofmt -l)
	if [ -n "$$unformatted" ]; then
		echo "not formatted; run gofmt -w on: $$unformatted" >&2
		exit 1
	fi
	go vet ./...
	go vet -tags e2e ./e2e/...

.PHONY: clean
clean: ## remove what was built here; the cache in KUBEWRIGHT_CACHE stays
	@rm -rf bin dist

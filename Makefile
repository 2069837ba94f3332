# wi-e2e. `make e2e` is the main job, `make test` all tests of the project; both do their own set-up.

# Static binaries: wi-e2e runs in scratch images too. Tests are compiled alike, so that they share the build cache.
export CGO_ENABLED = 0

.PHONY: e2e
e2e: build ## run every tier against the reference webhook on a local cluster (arguments: make e2e ARGS='--tier issuer')
	bin/wi-e2e run $(ARGS)

# Packages whose tests make clusters and compare the host before and after: one at a time.
CLUSTERS = ./cmd/wi-e2e ./fixtures/cluster/... ./suites/admission
# Never from the cache: the machine is part of what is tested. `make lint` vets.
GOTEST = go test -count=1 -vet=off -trimpath -timeout 30m $(TESTFLAGS)

.PHONY: test
test: build setup-tests ## all tests of the project, those on real local clusters included
	@echo "compiling the tests" >&2
	go build -trimpath ./...
	$(GOTEST) -p 1 $(CLUSTERS); clusters=$$?; \
	$(GOTEST) $$(go list ./... | grep -vxF "$$(go list $(CLUSTERS))") && exit $$clusters

.PHONY: test-kind
test-kind: build ## the tests of kind clusters, which "make test" skips where no container engine runs
	bin/wi-e2e images node
	WI_E2E_TEST_KIND=required $(GOTEST) ./fixtures/cluster/kind

.PHONY: test-kill
test-kill: build ## runs are killed and interrupted in every phase, and what they stand on is; "make test" does some of it
	WI_E2E_TEST_KILL=required $(GOTEST) -v -run 'TestARunThatIsEnded|TestWhatARunStandsOn' ./cmd/wi-e2e

.PHONY: test-load
test-load: build ## how many admissions a second the reference takes, on a machine that does nothing else
	WI_E2E_TEST_LOAD=required $(GOTEST) -v -run TestTheReferenceTakesItsLoad ./cmd/wi-e2e

.PHONY: selftest
selftest: build ## the suites against deliberate faults: every one has to be noticed
	bin/wi-e2e selftest $(ARGS)

.PHONY: build
build: setup ## the wi-e2e binary
	@echo "compiling bin/wi-e2e (some minutes the first time)" >&2
	go build -trimpath -ldflags "-s -w" -o bin/wi-e2e ./cmd/wi-e2e

.PHONY: setup
setup: ## the Debian packages that a local cluster and the images of the workloads need
	@./install-packages.sh

.PHONY: setup-tests
setup-tests: ## the browser in which the HTML report is tested
	@./install-packages.sh tests

.PHONY: lint lint-go lint-java lint-node lint-python
lint: lint-go lint-java lint-node lint-python ## formatting, vet, staticcheck, and the formatters and linters of the workloads' languages

lint-go: export GOFLAGS += -trimpath # what is compiled for it is what builds and tests compile too
lint-go: setup
	@unformatted=$$(gofmt -l cmd fixtures kindconfig reports suites); \
	test -z "$$unformatted" || { echo "run gofmt on:" $$unformatted >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...

lint-java lint-node lint-python: setup
	fixtures/workloads/$@.sh

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 10

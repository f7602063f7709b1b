SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .accord/bin
BUILD_ID := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# How long a short fuzz run takes for each target, and a benchmark for each measurement.
FUZZTIME ?= 10s
BENCHTIME ?= 2s
# A run of the chaos test: what is done and when (0 takes a seed by the clock), for how long, by how many.
SEED ?= 0
DURATION ?= 10m
CUSTOMERS ?= 2000
CLIENTS ?= 24
RATE ?= 30

# Numbers of clients and of streams to measure with, for how long each.
LEVELS ?= 1,4,16,64,128
STREAMS ?= 250,500,1000,2000
WINDOW ?= 6s

# How many requests are drawn from the contract, and how long one vendor is down.
REQUESTS ?= 100000
OUTAGE ?= 10m

.PHONY: help run build stack test bench fuzz fuzz-contract outage chaos chaos-mutants load soak check lint generate clean-state

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Bring everything up on this machine: Postgres, Temporal, sandbox, API and worker
	@exec $(BIN)/accord dev

build: ## Build the accord command into .accord/bin
	@mkdir -p $(BIN)
	@go build -buildvcs=false -ldflags "-X main.buildID=$(BUILD_ID)" -o $(BIN)/accord ./app

stack: ## Get the programs the tests need (Postgres, Temporal); a first time may take minutes
	@go run -buildvcs=false ./adapters/devstack/prepare $(BIN)

test: stack ## Run every test, against real Postgres and Temporal
	go test -race -timeout 15m $$(go list ./... | grep -v /systemtest)
	@# Alone, because it runs several whole systems at once.
	go test -race -timeout 20m ./app/systemtest

bench: stack ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 60m ./...

fuzz: stack ## Fuzz each target for a short time (FUZZTIME=10s, FUZZ=pattern of "package target")
	@.ci/fuzz $(FUZZTIME) '$(or $(FUZZ),.)'

fuzz-contract: stack ## Send REQUESTS=100000 requests drawn from the OpenAPI document, as several people and systems
	go test ./app/systemtest -run TestAnyRequestGetsAnAnswerOfTheContract -contract.requests $(REQUESTS) -timeout 60m -v

outage: stack ## Take one vendor down for OUTAGE=10m under a steady stream of changes
	go test ./app/systemtest -run TestOneVendorDownUnderASteadyStream -outage $(OUTAGE) -timeout 60m -v

chaos: stack ## Kill, pause and cut everything under load, then check every promise (SEED, DURATION, CUSTOMERS, CLIENTS, RATE)
	@go run -buildvcs=false ./app/chaostest -seed $(SEED) -duration $(DURATION) -customers $(CUSTOMERS) -clients $(CLIENTS) -rate $(RATE)

chaos-mutants: stack ## Check that the chaos test finds each of the broken systems in app/chaostest/testdata/mutants (MUTANT=*)
	@go run -buildvcs=false ./app/chaostest -mutants '$(or $(MUTANT),*)' -seed $(or $(filter-out 0,$(SEED)),7) -duration 25s -customers 6 -settle 3m -rate 40

load: stack ## Measure the whole system until something is used up, into docs/load (LEVELS, STREAMS, WINDOW)
	@go run -buildvcs=false ./app/loadtest load -clients $(LEVELS) -streams $(STREAMS) -window $(WINDOW)

soak: DURATION = 1h
soak: RATE = 20
soak: stack ## Keep steady traffic up and check that nothing grows that should not, into docs/soak (DURATION=1h, RATE=20)
	@go run -buildvcs=false ./app/loadtest soak -duration $(DURATION) -rate $(RATE)

check: ## Run exactly what CI runs
	@bash .ci/run

lint: ## Run the linters alone
	@source .ci/tools; linter=$$(tool "$$GOLANGCI_LINT"); "$$linter" run

generate: ## Make generated code anew (mocks, HTTP types)
	go generate ./...

clean-state: ## Drop all local state (databases, workflows, sandbox), but not the programs in .accord/bin
	@# As root, Postgres may have had to keep its data outside; a file in its folder says where.
	@outside=(); \
	for marker in $$(find .accord -maxdepth 2 -name relocated-to 2>/dev/null); do \
		place=$$(cat "$$marker"); \
		case "$$place" in /*/accord-postgres-*) outside+=("$$place") ;; esac; \
	done; \
	for file in .accord/*/data/postmaster.pid "$${outside[@]/%//data/postmaster.pid}"; do \
		if [ -f "$$file" ] && kill -0 "$$(head -n 1 "$$file")" 2>/dev/null; then \
			echo "Postgres (process $$(head -n 1 "$$file")) runs on this state; stop Accord first" >&2; exit 1; \
		fi; \
	done; \
	rm -rf -- "$${outside[@]}"; \
	if [ -d .accord ]; then find .accord -mindepth 1 -maxdepth 1 ! -name bin -exec rm -rf -- {} +; fi

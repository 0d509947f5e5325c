# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FONTS := research/.fonts
# The versions that most people had at the end of 2025.
OLD := .venv-diffusers-0.36
# Helm's engine as a library, apart from everything else.
HELM := .venv-helm
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where it is set, each of hundreds of processes compiles all our code anew, and every worker of pytest all tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(STAMP): pyproject.toml sdk/python/pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "Fiveshot needs $(PYTHON); set PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25"
	$(BIN)/pip install --quiet "torch==2.13.0"
	$(BIN)/pip install --quiet --constraint requirements.lock --editable sdk/python --editable ".[dev]"
	touch $(STAMP)

install: $(STAMP) ## Create .venv with everything

demo: $(STAMP) ## Run the main job on five pictures; IMAGES=DIR SUBJECT=dog takes your own
	$(BIN)/fiveshot demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(SUBJECT),--subject "$(SUBJECT)") $(if $(OUT),--output "$(OUT)")

check: $(STAMP) lint ## Lint, types, import rules, protos
	$(BIN)/mypy

lint: $(STAMP) ## The checks that take seconds: all but types
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m tools.protos check
	$(BIN)/python -m tools.protos lint
	$(BIN)/python -m tools.sync_client

unit: $(STAMP) ## Unit tests only
	$(BIN)/python -m pytest tests/unit -q -n 2 --dist loadfile

# Types are checked beside the tests, and shown once those have ended. Folders with the longest files begin, so that
# short ones fill all workers to the end; there is one more than cores, because tests of outages mostly wait. FIVESHOT_TEST_PATIENCE=4 multiplies every limit on a slow or busy machine.
test: $(STAMP) lint promtool helm-engine ## The whole suite, with the real servers on free ports
	@types=$$(mktemp); $(BIN)/mypy >$$types 2>&1 & mypy=$$!; trap 'kill $$mypy' INT TERM; \
	$(BIN)/python -m pytest tests/chaos tests/e2e tests/integration tests/contract tests/unit \
	    -q -n 3 --dist loadfile --no-loadscope-reorder --durations=25 && \
	$(BIN)/python -m pytest -c research/pyproject.toml research/tests -m smoke -q; tests=$$?; \
	wait $$mypy; typed=$$?; echo "mypy:"; cat $$types; rm -f $$types; test $$tests -eq 0 && test $$typed -eq 0

attack: $(STAMP) ## The long forms of hostile input: every nasty picture, 100,000 forged calls, crowds; half an hour
	$(BIN)/python -m pytest tests/attack -q -s

test-long: $(STAMP) chaos ## Long forms: make chaos, and a queue of 1,000 jobs
	QUEUE_JOBS=1000 $(BIN)/python -m pytest tests/integration/trainer_jobs/test_replicas.py -q

matrix: $(STAMP) $(OLD)/.installed ## Every exported file as every tool applies it, with an older diffusers too; jobs that start from each; DoRA with every family
	FIVESHOT_READERS=all FIVESHOT_OLD_DIFFUSERS=$(abspath $(OLD)/bin/python) \
	    $(BIN)/python -m pytest tests/integration/trainer/test_file_readers.py tests/integration/trainer/test_initial_lora.py \
	    tests/integration/trainer/test_families.py -q

$(OLD)/.installed:
	test -x $(OLD)/bin/python || $(PYTHON) -m venv $(OLD)
	$(OLD)/bin/pip install --quiet "torch==2.13.0" "diffusers==0.36.0" "peft==0.18.1" "transformers==4.57.6"
	touch $@

NODE_MODULES := gateway/console/node_modules/.package-lock.json

$(NODE_MODULES): gateway/console/package-lock.json
	cd gateway/console && npm ci --no-audit --no-fund
	touch $@

console: $(STAMP) $(NODE_MODULES) ## Build gateway/console/dist again; needs node 20
	$(BIN)/python -m tools.console_protos
	cd gateway/console && npx svelte-check --fail-on-warnings && npx vite build

test-console: $(STAMP) $(NODE_MODULES) ## The console's own tests, a fresh build beside dist, and the walk in Chromium; needs node 20
	$(BIN)/python -m tools.console_protos
	cd gateway/console && npx svelte-check --fail-on-warnings && npx vitest run && \
	    built=$$(mktemp -d) && npx vite build --outDir $$built --emptyOutDir && diff -r $$built dist && rm -r $$built
	$(BIN)/python -m pytest tests/console -q -rs

EXAMPLE := examples/typescript
CLIENT := .venv-openapi-client
$(CLIENT)/.installed:
	test -x $(CLIENT)/bin/python || $(PYTHON) -m venv $(CLIENT)
	$(CLIENT)/bin/pip install --quiet "openapi-python-client==0.29.1"
	touch $@

test-examples: $(STAMP) $(CLIENT)/.installed ## Clients of others against a stack that pretends: TypeScript, generated from OpenAPI; needs node 20
	cd $(EXAMPLE) && { test -d node_modules || npm ci --no-audit --no-fund; } && npm run --silent build
	$(BIN)/python -m pytest tests/examples -q -rs

LANGUAGES := golang-1.19-go golang-1.19-src protoc-gen-go protoc-gen-go-grpc golang-google-protobuf-dev golang-google-grpc-dev \
    golang-google-genproto-dev golang-github-golang-protobuf-1-5-dev golang-golang-x-net-dev golang-golang-x-text-dev golang-golang-x-sys-dev \
    protobuf-compiler libprotoc32 libprotobuf32 libprotobuf-dev protobuf-compiler-grpc-java-plugin libprotobuf-java libgrpc-java libguava-java \
    libgeronimo-annotation-1.3-spec-java
test-languages: $(STAMP) .languages/.fetched ## Generated Java and Go compile, with Debian 12's compilers; minutes, needs a JDK
	$(BIN)/python -m pytest tests/languages -q -rs

.languages/.fetched:
	rm -rf .languages && mkdir .languages && cd .languages && apt-get download -q $(LANGUAGES) && \
		for each in *.deb; do dpkg-deb --extract $$each . || exit 1; done && rm *.deb && touch .fetched

bench-gpu: $(STAMP) ## Measure steps and whole jobs at real sizes on this machine's GPU, and fill the tables of docs/benchmarks.md
	$(BIN)/python -m benchmarks.gpu --write docs/benchmarks.md

test-research: $(STAMP) research-font ## Every test of research/, minutes
	$(BIN)/pip install --quiet --constraint requirements.lock --editable "./research[test]"
	$(BIN)/python -m pytest -c research/pyproject.toml research/tests -q

research-font: ## Fetch the emoji font that research/ draws with, without root
	@test -f /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf || test -f $(FONTS)/NotoColorEmoji.ttf || { \
		mkdir -p $(FONTS) && cd $(FONTS) && apt-get download fonts-noto-color-emoji && \
		dpkg-deb --extract fonts-noto-color-emoji_*.deb . && \
		mv usr/share/fonts/truetype/noto/NotoColorEmoji.ttf . && rm -r usr fonts-noto-color-emoji_*.deb; }

# Without it the tests of the alert rules are skipped and say so.
promtool: $(STAMP) ## Fetch Prometheus' checker of rules, without root, where there is none
	@command -v promtool >/dev/null || test -x $(BIN)/promtool || { \
		cd $(VENV) && apt-get download -q prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - ./usr/bin/promtool && \
		mv usr/bin/promtool bin/ && rm -r usr prometheus_*.deb; } || echo "promtool is missing: alert rules will not be tested"

helm: $(HELM)/.installed ## Render deploy/k8s from the chart in deploy/helm
	$(HELM)/bin/python -m tools.helm_chart write

$(HELM)/.installed:
	test -x $(HELM)/bin/python || $(PYTHON) -m venv $(HELM)
	$(HELM)/bin/pip install --quiet "helm-python-sdk==0.2.2"
	touch $@

# Without it the tests that render the chart are skipped and say so.
helm-engine:
	@test -e $(HELM)/.installed || $(MAKE) $(HELM)/.installed || echo "Helm's engine is missing: the chart will not be tested"

chaos: $(STAMP) ## Kill parts of the suite at random, half an hour at most; CHAOS_SEED repeats a run
	CHAOS_SECONDS=$(or $(CHAOS_SECONDS),60) OUTAGE_SECONDS=60 KILL_POINTS=20 $(BIN)/python -m pytest tests/chaos -q -s
	OUTAGES_IN_TURN=1 $(BIN)/python -m pytest tests/e2e/test_parts_away.py -q -s

roll: $(STAMP) ## Replace every process while 5,000 calls on every path go on; ROLL_SEED repeats an order; half an hour
	ROLL_CALLS=$(or $(ROLL_CALLS),5000) $(BIN)/python -m pytest tests/chaos/test_roll.py -q -s

# The commit of the release 0.1.0, whose schemas are the baseline's.
BASELINE := 3fcd9b8
upgrade-drill: $(STAMP) ## The baseline's programs and these beside each other under load, there and back; minutes
	UPGRADE_FROM=$(or $(UPGRADE_FROM),$(BASELINE)) $(BIN)/python -m pytest tests/chaos/test_upgrade.py -q -s

restore-drill: $(STAMP) ## Back up a stack at work, restore it elsewhere, and compare; a minute
	RESTORE_DRILL=1 $(BIN)/python -m pytest tests/chaos/test_restore.py -q -s

protos: $(STAMP) ## Generate the stubs in sdk/python/src again
	$(BIN)/python -m tools.protos format
	$(BIN)/python -m tools.protos generate

lock: $(STAMP) ## Write requirements.lock from this environment, and deploy/locks with digests for the images
	$(BIN)/python -m tools.lock > requirements.lock
	test -x $(BIN)/uv || $(BIN)/pip install --quiet "uv>=0.13"
	$(BIN)/python -m tools.image_locks

sbom: $(STAMP) ## Write the bill of materials of every image, CycloneDX, into OUT (sbom)
	$(BIN)/python -m tools.sbom "$(or $(OUT),sbom)"

pretrain: $(STAMP) research-font ## Make the weights of fiveshot-tiny again (hours; see research/fiveshot_tiny/README.md)
	$(BIN)/python -m research.fiveshot_tiny vae 60
	$(BIN)/python -m research.fiveshot_tiny denoiser 240
	$(BIN)/python -m research.fiveshot_tiny export
	$(BIN)/python -m research.fiveshot_tiny golden tests/golden/fiveshot_tiny.png

clean: ## Remove the environment and caches
	rm -rf $(VENV) sbom .mypy_cache .ruff_cache .pytest_cache .import_linter_cache demo-output

.PHONY: help install demo check lint unit test promtool attack console test-console test-examples test-languages test-long test-research research-font matrix helm helm-engine chaos roll upgrade-drill restore-drill protos lock sbom pretrain clean

# e2eed: GNU make. Everything that is built lands in build/; `make help` lists the targets.
#
#   make                 build/e2eed and build/e2eectl
#   make FLAVOUR=asan    the same in build/asan/ (asan, tsan, clang, valgrind: see below)

VERSION := 0.1.0

FLAVOUR ?= release
PREFIX ?= /usr
DESTDIR ?=

# ---- flavours: compiler and flags --------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wcast-qual -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef \
	-Wimplicit-fallthrough -Werror
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -fno-strict-overflow \
	$(if $(filter x86_64,$(shell uname -m)),-fcf-protection=full)
FORTIFY := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(if $(filter clang,$(FLAVOUR)),2,3)
HARDENING_LD := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code
DEBUG := -g -fno-omit-frame-pointer

CC_release := gcc
CC_clang := clang
CC_asan := gcc
CC_tsan := gcc
CC_valgrind := gcc

FLAGS_release := -O2 $(FORTIFY) $(DEBUG)
FLAGS_clang := -O2 $(FORTIFY) $(DEBUG)
FLAGS_asan := -O1 $(DEBUG) -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_tsan := -O1 $(DEBUG) -fsanitize=thread
FLAGS_valgrind := -O1 $(DEBUG) -DE2EED_VALGRIND

ifeq ($(CC_$(FLAVOUR)),)
$(error FLAVOUR is one of release clang asan tsan valgrind, not "$(FLAVOUR)")
endif
ifeq ($(origin CC),default)
CC := $(CC_$(FLAVOUR))
endif

B := build/$(FLAVOUR)
BIN := $(if $(filter release,$(FLAVOUR)),build,$(B))

PACKAGES := libuv jansson libcrypto libsodium inih libsystemd p11-kit-1
# When these packages are missing the build stops at the first #include, with a hint to `make deps`.
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)

CPPFLAGS_ALL := -I. -D_GNU_SOURCE -DE2EED_VERSION='"$(VERSION)"' -DOPENSSL_NO_DEPRECATED -DOPENSSL_API_COMPAT=30000 \
	$(PKG_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL := -std=gnu17 $(WARNINGS) $(HARDENING) $(FLAGS_$(FLAVOUR)) -pthread $(CFLAGS)
LDFLAGS_ALL := $(HARDENING_LD) $(FLAGS_$(FLAVOUR)) -pthread $(LDFLAGS)

LIBS_base := -ljansson -lsodium
LIBS_crypto := -lcrypto
LIBS_keystore := -lp11-kit
LIBS_conf := -linih
LIBS_daemon := -luv -lsystemd

# ---- layers: daemon -> proto -> keystore -> crypto -> base; daemon -> conf -> base; ctl -> proto, keystore -------

LAYERS := base crypto keystore proto conf
SRC = $(sort $(wildcard $(1)/*.c))
OBJ = $(patsubst %.c,$(B)/%.o,$(call SRC,$(1)))
LIB = $(B)/lib$(1).a
ARCHIVES := $(foreach l,proto keystore conf crypto base,$(call LIB,$(l)))
ALL_LIBS := $(LIBS_conf) $(LIBS_keystore) $(LIBS_crypto) $(LIBS_base)

.DEFAULT_GOAL := all
.PHONY: all
all: $(BIN)/e2eed $(BIN)/e2eectl

define layer_rule
$(call LIB,$(1)): $(call OBJ,$(1))
	@rm -f $$@
	@$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rule,$(l))))

$(BIN)/e2eed: $(call OBJ,daemon) $(ARCHIVES)
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_daemon) $(ALL_LIBS)

$(BIN)/e2eectl: $(call OBJ,ctl) $(ARCHIVES)
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(ALL_LIBS)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $< ($(FLAVOUR))"
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

-include $(wildcard $(B)/*/*.d $(B)/*/*/*.d)

# ---- unit tests: one TAP program a file --------------------------------------------------------------------------

UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))

$(B)/unit/%: $(B)/tests/unit/%.o $(B)/tests/unit/tap.o $(ARCHIVES)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS_ALL) $(LDFLAGS_UNIT) -o $@ $^ $(ALL_LIBS)

# what these let fail
$(B)/unit/test_rsa: LDFLAGS_UNIT := -Wl,--wrap=arena_alloc
$(B)/unit/test_store_nomem: LDFLAGS_UNIT := $(foreach f,malloc calloc realloc reallocarray strdup secret_new secret_dup,-Wl,--wrap=$(f))

.PHONY: unit-programs
unit-programs: $(UNIT)

# what tests/memory starts the daemon with
build/release/without_memfd_secret: tests/memory/without_memfd_secret.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $<

.PHONY: memory-programs
memory-programs: build/release/without_memfd_secret
.SECONDARY:

# ---- measuring: programs that tests/bench/bench.mjs runs ---------------------------------------------------------

BENCH := $(B)/bench/store $(B)/bench/load $(B)/bench/files

$(B)/bench/%: $(B)/tests/bench/%.o $(B)/tests/bench/bench.o $(ARCHIVES)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(ALL_LIBS)

.PHONY: bench bench-programs
bench: deps-bench deps-shim ## measure keystore, files and client (minutes), and rewrite docs/performance.md with what was found
	@$(MAKE) --no-print-directory -s all bench-programs shim/dist/index.js
	@node tests/bench/bench.mjs

bench-programs: $(BENCH)
# Preloaded into the daemon by the crash test; no sanitizer in it, since it stands before theirs.
$(B)/faults.so: $(wildcard tests/crash/*.[ch]) Makefile
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	@$(CC) $(CPPFLAGS_ALL) -std=gnu17 $(WARNINGS) $(DEBUG) -O1 -fPIC -pthread -shared -o $@ $(filter %.c,$^)

# Preloaded under valgrind. No stack protector and no calls of libc: native_kdf.c says why.
build/valgrind/preload.so: $(wildcard tests/valgrind/*.c) Makefile
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	@$(CC) $(CPPFLAGS_ALL) -std=gnu17 $(WARNINGS) $(DEBUG) -O2 -fPIC -fno-stack-protector -fno-tree-loop-distribute-patterns \
		-pthread -shared -o $@ $(filter %.c,$^) -lcrypto

# ---- the shim: TypeScript for apps, and an app -------------------------------------------------------------------

# node_modules/.installed: what the lock file names is there; no package's scripts are run.
NPM_TESTS := tests/shim tests/shim/engine/7.0 tests/shim/engine/7.9 tests/shim/official
%/node_modules/.installed: %/package-lock.json
	@echo "  NPM     $*"
	@cd $* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

SHIM_SOURCES := $(wildcard shim/src/*.ts shim/src/apps-engine/*.ts) shim/build.mjs shim/package.json shim/tsconfig.json
shim/dist/index.js: $(SHIM_SOURCES) shim/node_modules/.installed
	@echo "  BUILD   shim/dist"
	@node shim/build.mjs

EXAMPLE_SOURCES := $(wildcard shim/example/*.ts shim/example/src/*.ts shim/example/i18n/*) shim/example/app.json shim/example/package.mjs shim/example/zip.mjs
shim/example/dist/.packaged: $(EXAMPLE_SOURCES) shim/dist/index.js shim/example/node_modules/.installed
	@echo "  PACKAGE shim/example"
	@node shim/example/package.mjs
	@touch $@

# The engines that the tests run apps in, made to run without a network.
tests/shim/engine/7.9/node_modules/.prepared: tests/shim/engine/prepare.mjs $(wildcard tests/shim/engine/std/*.ts) $(addsuffix /node_modules/.installed,$(NPM_TESTS))
	@echo "  PREPARE tests/shim/engine"
	@node tests/shim/engine/prepare.mjs
	@touch $@

.PHONY: shim example shim-tests
shim: deps-shim ## build the npm package for apps, shim/dist
	@$(MAKE) --no-print-directory shim/dist/index.js
example: deps-shim ## package the example app, shim/example/dist
	@$(MAKE) --no-print-directory shim/example/dist/.packaged
shim-tests: shim/dist/index.js shim/example/dist/.packaged tests/shim/engine/7.9/node_modules/.prepared

# ---- set-up ------------------------------------------------------------------------------------------------------

DEPS_BUILD := gcc libc6-dev make pkg-config libuv1-dev libjansson-dev libssl-dev libsodium-dev libinih-dev libsystemd-dev \
	libp11-kit-dev
DEPS_DEMO := nodejs
DEPS_BENCH := nodejs util-linux
DEPS_TEST := clang clang-tidy clang-format cppcheck valgrind perl openssl nodejs libclang-rt-14-dev systemd shellcheck mandoc \
	util-linux bsdutils socat softhsm2 opensc gdb chromium
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# Installs what is missing, and only then asks apt for anything.
define install_packages
	@missing=; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get update -q && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; fi
endef

# npm comes with some packages of Node.js, and is one of its own with Debian's
NPM = $(shell command -v npm >/dev/null || echo npm)

.PHONY: deps deps-demo deps-bench deps-test deps-shim
deps: ## install what the build needs (Debian packages)
	$(call install_packages,$(DEPS_BUILD))
deps-demo:
	$(call install_packages,$(DEPS_BUILD) $(DEPS_DEMO))
deps-bench:
	$(call install_packages,$(DEPS_BUILD) $(DEPS_BENCH))
deps-test:
	$(call install_packages,$(DEPS_BUILD) $(DEPS_DEMO) $(DEPS_TEST))
	$(call install_packages,$(NPM))
deps-shim:
	$(call install_packages,$(DEPS_DEMO))
	$(call install_packages,$(NPM))

# Set-up comes first and the rest in a new make, which then finds what was installed.
.PHONY: demo test
demo: deps-demo ## set up, build, and play a conversation between the daemon and a web client
	@$(MAKE) --no-print-directory -s all
	@node tests/demo/demo.mjs

test: deps-test ## set up, then every check there is: compilers, lint, all tests under each sanitizer
	@$(MAKE) --no-print-directory test-all

# ---- tests -------------------------------------------------------------------------------------------------------

.PHONY: test-all check asan tsan valgrind
test-all:
	@tests/run.sh all

check: all unit-programs $(B)/faults.so ## quick: unit and end-to-end tests of the release build
	@tests/run.sh release

asan: ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tests/run.sh asan
tsan: ## all tests under ThreadSanitizer
	@tests/run.sh tsan
valgrind: ## all tests under valgrind
	@tests/run.sh valgrind

.PHONY: crash
crash: all $(B)/faults.so ## 1000 kills, failures and losses of power: nothing is lost
	@E2EED_KILLS=$${E2EED_KILLS:-1000} tests/run.sh crash

.PHONY: interop
interop: all ## 1000 messages, room keys and key envelopes each, between the daemon and WebCrypto, both ways
	@node --test tests/e2e/interop.test.mjs

.PHONY: tamper
tamper: ## a keystore with every kind of record, each of its bits changed in turn
	@$(MAKE) -s CPPFLAGS=-DEVERY_BIT B=build/every_bit build/every_bit/unit/test_store_tamper && prove -v build/every_bit/unit/test_store_tamper

.PHONY: race
race: ## revocations against what apps do, 60 s each under ASan and TSan
	@tests/run.sh race

# ---- lint --------------------------------------------------------------------------------------------------------

C_FILES := $(sort $(wildcard */*.c tests/*/*.c))
H_FILES := $(sort $(wildcard */*.h tests/*/*.h))
TIDY_FLAGS := -std=gnu17 $(CPPFLAGS_ALL)

.PHONY: lint lint-format lint-headers lint-layers lint-tidy lint-cppcheck lint-text format
lint: lint-format lint-layers lint-headers lint-text lint-cppcheck lint-tidy ## everything that reads the code without running it

format: ## put the C code into its layout
	clang-format -i $(C_FILES) $(H_FILES)

lint-format:
	@echo "  LINT    layout"
	@clang-format --dry-run -Werror $(C_FILES) $(H_FILES)

# style: dependencies point one way
lint-layers:
	@echo "  LINT    layers"
	@tests/lint/layers.sh

lint-headers:
	@echo "  LINT    each header compiles alone"
	@for h in $(H_FILES); do $(CC) $(CPPFLAGS_ALL) -std=gnu17 $(WARNINGS) -fsyntax-only -x c $$h || exit 1; done

lint-text:
	@echo "  LINT    scripts and manual pages"
	@shellcheck .ci/run $(wildcard tests/*.sh tests/*/*.sh)
	@mandoc -Tlint -W warning docs/man/*.[1-8]
	@for f in $(wildcard tests/*/*.mjs tests/*/*/*.mjs shim/*.mjs shim/example/*.mjs); do node --check $$f || exit 1; done

# memleak: cppcheck does not know the cleanup attribute; ASan and valgrind look for leaks
lint-cppcheck:
	@echo "  LINT    cppcheck"
	@cppcheck -q --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=memleak -I. -D__x86_64__ -DE2EED_VERSION='""' $(sort $(wildcard $(addsuffix /*.c,$(LAYERS) daemon ctl)))

lint-tidy: $(patsubst %.c,$(B)/tidy/%.ok,$(sort $(wildcard $(addsuffix /*.c,$(LAYERS) daemon ctl))))

$(B)/tidy/%.ok: %.c .clang-tidy
	@mkdir -p $(@D)
	@echo "  TIDY    $<"
	@clang-tidy --quiet --warnings-as-errors='*' $< -- $(TIDY_FLAGS) 2>$@.log >$@.out || { cat $@.out; exit 1; }
	@touch $@

# ---- installation ------------------------------------------------------------------------------------------------

.PHONY: install
install: all ## install under DESTDIR and PREFIX
	install -D -m 0755 build/e2eed $(DESTDIR)$(PREFIX)/sbin/e2eed
	install -D -m 0755 build/e2eectl $(DESTDIR)$(PREFIX)/bin/e2eectl
	install -D -m 0644 conf/e2eed.conf $(DESTDIR)/etc/e2eed/e2eed.conf
	install -D -m 0644 docs/man/e2eed.8 $(DESTDIR)$(PREFIX)/share/man/man8/e2eed.8
	install -D -m 0644 docs/man/e2eectl.1 $(DESTDIR)$(PREFIX)/share/man/man1/e2eectl.1
	install -D -m 0644 docs/man/e2eed.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/e2eed.conf.5

.PHONY: clean help
clean: ## remove what was built
	rm -rf build shim/dist shim/example/dist

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

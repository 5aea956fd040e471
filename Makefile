# smartlead: Smartlead inside PostgreSQL.
#
#   make test     installs what is missing, builds, and runs every test against a private cluster
#   make demo     the same, then a guided tour on a private cluster; `make demo-stop` removes it
#   make && make install && make installcheck   what PGXS users expect, on a server of their own
EXTENSION    = smartlead
EXTVERSION   = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" smartlead.control)
MODULE_big   = smartlead
OBJS         = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
# What is made of endpoints/, besides objects.
GENERATED    = build/generated
# Versions whose install scripts are committed and never change again. That of a version to come is made of sql/parts.
RELEASED     =
SQL          = sql/$(EXTENSION)--$(EXTVERSION).sql
DATA         = $(RELEASED:%=sql/$(EXTENSION)--%.sql) $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built   = $(filter-out $(DATA),$(SQL))
PG_CPPFLAGS  = -Isrc -I$(GENERATED) -DSMARTLEAD_VERSION='"$(EXTVERSION)"'
# Ours to demand, not of users whose compilers know newer warnings: WERROR=-Werror
WERROR      ?=
PG_CFLAGS    = -Wextra $(WERROR) -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
SHLIB_LINK   = -lcurl -lcjson -lmicrohttpd -lcrypto
EXTRA_CLEAN  = build

# Nothing here is worth inlining into a JIT-compiled query, so no bitcode. PGXS decides while it is
# read, after setting its own value: only an override from before that holds.
override with_llvm = no

# installcheck is ours (below): it needs the sandbox beside the server.
NO_INSTALLCHECK = 1

PG_CONFIG   ?= pg_config
PGXS        := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# On a fresh machine there is no PGXS yet. The targets that install it must work all the same, so
# it is included only where it exists.
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# The endpoints are declared in endpoints/, and made from that: the table in C, the functions in SQL, and
# docs/endpoints.md, which is committed.
ENDPOINTS    = $(sort $(wildcard endpoints/*.def))
MAKE_OF_ENDPOINTS = @mkdir -p $(GENERATED); \
	LC_ALL=C awk -f endpoints/read.awk -f $< $(ENDPOINTS) > $(GENERATED)/$(@F).new && mv $(GENERATED)/$(@F).new $@
$(GENERATED)/endpoint_table.h: endpoints/table.awk endpoints/read.awk $(ENDPOINTS)
	$(MAKE_OF_ENDPOINTS)
$(GENERATED)/endpoints.sql: endpoints/functions.awk endpoints/read.awk $(ENDPOINTS)
	$(MAKE_OF_ENDPOINTS)
docs: docs/endpoints.md
docs/endpoints.md: endpoints/docs.awk endpoints/read.awk $(ENDPOINTS)
	$(MAKE_OF_ENDPOINTS)
src/api/endpoints.o: $(GENERATED)/endpoint_table.h

# The install script is written in parts, one a subject, in the order of their names; those of endpoints
# come after connections, and before what rests on them.
SQL_PARTS    = $(sort $(wildcard sql/parts/*.sql))
SQL_BEFORE   = $(wildcard sql/parts/[01]*.sql)
SQL_WHOLE    = $(sort $(SQL_BEFORE)) $(GENERATED)/endpoints.sql $(filter-out $(SQL_BEFORE),$(SQL_PARTS))
ifneq ($(DATA_built),)
$(SQL): $(SQL_WHOLE)
	cat $^ > $@
else
all: released
released: $(SQL_WHOLE)
	@cat $^ | cmp -s - $(SQL) || { echo '$(SQL) is released, and sql/parts or endpoints say something else: CONTRIBUTING.md tells how to begin the next version' >&2; exit 1; }
.PHONY: released
endif

# Objects made for another server, or with other flags, must not be linked into this one.
BUILT_FOR   := $(shell $(PG_CONFIG) --version --includedir-server | tr '\n' ' ') $(CC) $(CFLAGS) $(CPPFLAGS)
build/built-for: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(BUILT_FOR))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(BUILT_FOR))' > $@

$(OBJS): $(wildcard src/*.h src/*/*.h) build/built-for

clean: clean-sandbox
else
.DEFAULT_GOAL = all
all install uninstall clean distclean:
	@echo '$(PG_CONFIG) leads to no PGXS: run "make deps", or name an installation with PG_CONFIG=/path/to/pg_config' >&2; exit 1
endif

# What the scripts are told: this make, and PG_CONFIG only when the user chose one; a chosen
# installation is never added to.
GIVEN_PG_CONFIG = $(if $(filter command environment,$(firstword $(origin PG_CONFIG))),$(PG_CONFIG))
TELL         = MAKE='$(MAKE)' PG_CONFIG='$(GIVEN_PG_CONFIG)'

deps:
	@$(TELL) scripts/deps.sh build test
test:
	@$(TELL) TESTS='$(TESTS)' scripts/test.sh
installcheck:
	@$(TELL) TESTS='$(TESTS)' scripts/installcheck.sh regress
prove_installcheck:
	@$(TELL) TESTS='$(TESTS)' scripts/installcheck.sh prove
# On other releases of Debian, with their PostgreSQL and libcurl; FULL=1: every test. See the script.
test-versions:
	@$(TELL) SUITES='$(SUITES)' FULL='$(FULL)' scripts/test-versions.sh
valgrind:
	@$(TELL) TESTS='$(TESTS)' scripts/valgrind.sh
demo:
	@$(TELL) scripts/demo.sh start
demo-stop:
	@$(TELL) scripts/demo.sh stop
bench:
	@$(TELL) BENCH='$(BENCH)' scripts/bench.sh

sandbox:
	@$(MAKE) -C test/sandbox
clean-sandbox:
	@if [ -f test/sandbox/Makefile ]; then $(MAKE) -C test/sandbox clean; fi

FORMATTED    = $(wildcard src/*.[ch] src/*/*.[ch] test/sandbox/*.[ch] bench/*.[ch])
format:
	@scripts/deps.sh format
	clang-format -i $(FORMATTED)
format-check:
	@scripts/deps.sh format
	clang-format --dry-run --Werror $(FORMATTED)

lint:
	@$(TELL) FILES='$(FILES)' scripts/lint.sh

FORCE:
.PHONY: FORCE docs deps test test-versions installcheck prove_installcheck valgrind demo demo-stop bench sandbox clean-sandbox format format-check lint

# smartlead: Smartlead inside PostgreSQL.
EXTENSION    = smartlead
EXTVERSION   = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" smartlead.control)
MODULE_big   = smartlead
OBJS         = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built   = sql/$(EXTENSION)--$(EXTVERSION).sql
DATA         = $(filter-out $(DATA_built),$(wildcard sql/$(EXTENSION)--*--*.sql))
PG_CPPFLAGS  = -Isrc -DSMARTLEAD_VERSION='"$(EXTVERSION)"'
PG_CFLAGS    = -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
SHLIB_LINK   = -lcurl -lcjson -lmicrohttpd -lcrypto
EXTRA_CLEAN  = $(DATA_built)

# Nothing here is worth inlining into a JIT-compiled query, so no bitcode.
with_llvm    = no

PG_CONFIG   ?= pg_config
PGXS        := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
override with_llvm = no

# The install script is written in parts, one a subject, in the order of their names.
SQL_PARTS    = $(sort $(wildcard sql/parts/*.sql))
$(DATA_built): $(SQL_PARTS)
	cat $^ > $@

$(OBJS): $(wildcard src/*.h src/*/*.h)

/*
 * api/function.h
 *		What the SQL functions of this room have in common.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_FUNCTION_H
#define SL_FUNCTION_H

#include "smartlead.h"

#include "api/arguments.h"

typedef struct SlFunction SlFunction;

/* The declaration of the function by which we were called, and its endpoint. */
extern const SlFunction *sl_function(FunctionCallInfo fcinfo);

extern SlArguments	*sl_function_arguments(const SlFunction *function, FunctionCallInfo fcinfo);
extern SlConnection *sl_function_connection(const SlFunction *function, FunctionCallInfo fcinfo);

/* Between these two, all memory is in a context of the call's own. */
extern MemoryContext sl_function_begin(void);
extern void			 sl_function_end(MemoryContext caller);

extern void sl_function_check_writable(const SlEndpoint *endpoint);

#endif /* SL_FUNCTION_H */

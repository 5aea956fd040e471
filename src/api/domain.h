/*
 * api/domain.h
 *		What may stand on the block list: a domain or an e-mail address.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_DOMAIN_H
#define SL_DOMAIN_H

#include "smartlead.h"

/*
 * The entry as it is sent: the text, without the dot that may end a domain. Throws for what is
 * neither a domain nor an address, since Smartlead would take it and block nothing.
 */
extern char *sl_domain_read(const char *text);

#endif /* SL_DOMAIN_H */

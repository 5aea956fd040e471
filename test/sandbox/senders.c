/*
 * senders.c
 *		Smart Senders: who sells mailboxes, and what is ordered. Really on a host of its own.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "sandbox.h"

void
list_vendors(Call *call)
{
	reply_json(call, 200,
			   cJSON_Parse("{\"success\":true,\"data\":[{\"id\":1,\"name\":\"Alpine Mail\"}]}"));
}

void
place_order(Call *call)
{
	if (check_body(call, "vendor_id:i* forwarding_domain:s* user_details:o* domains:a*"))
		reply_json(call, 200, cJSON_Parse("{\"success\":true,\"data\":{\"order_id\":\"ord-17\"}}"));
}

/* 'key list' and 'ds': from the records in the state directory, whether the server runs or not. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/control_reply.h"
#include "signer/keys.h"

struct keys_query {
	struct store *db;
	const struct conf *conf;
	const struct conf_zone *zone;
	int64_t now; /* seconds since 1970 */
};

void keys_list(const struct keys_query *q, struct reply *r);
/* form: "ds", "dnskey", "json"; NULL: "ds". */
void keys_ds(const struct keys_query *q, const char *form, struct reply *r);

/* A zone by its name in text, with or without the final dot. NULL: *r says why not. */
const struct conf_zone *conf_zone_by_text(const struct conf *conf, const char *text,
					  struct reply *r);

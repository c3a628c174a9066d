/* Keeps the certificate of TLS up to date while the server runs: files that changed are read again,
 * one that nears its end is told of. On main's loop. */
#pragma once

#include "nsd-core/tls.h"

#include <uv.h>

struct tls_keeper;

/* context is borrowed until the loop has closed the keeper. ST_ENOMEM. */
enum status tls_keeper_start(uv_loop_t *loop, struct tls_context *context,
			     struct tls_keeper **out) MUST_USE;
/* Looks at the files now. */
void tls_keeper_look(struct tls_keeper *k);
/* The memory goes once the loop has closed the handle. Takes NULL. */
void tls_keeper_stop(struct tls_keeper *k);

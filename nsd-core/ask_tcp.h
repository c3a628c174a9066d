/* A question over TCP. Private to ask*.c. */
#pragma once

#include "nsd-core/ask.h"

/* The message came whole, or (data NULL) did not, and why; the connection is closing. */
typedef void (*ask_tcp_done)(struct ask *ask, struct bytes message, const char *why);

/* Asks 'from' there. 'done' is called once, later, unless ask_tcp_drop() comes first. False: there
 * is no memory. */
bool ask_tcp_start(uv_loop_t *loop, const struct sockaddr_storage *from, struct ask *ask,
		   ask_tcp_done done);
/* Closes ask->tcp, if there is one. */
void ask_tcp_drop(struct ask *ask);

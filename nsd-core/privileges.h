/* What is done as the user who starts the server, and the step down from there. */
#pragma once

#include "nsd-core/conf.h"

/* Makes the state directory (0700) and the control socket's folder where they lack, and gives them
 * to server.user when started as root. */
enum status privileges_prepare(const struct conf_server *conf, struct diags *d) MUST_USE;
/* One server per state directory: *out is a descriptor that holds its lock until it is closed.
 * ST_EBUSY: another has it. */
enum status privileges_lock_state(const struct conf_server *conf, int *out,
				  struct diags *d) MUST_USE;
/* Becomes server.user, its groups and no others, for good; then no dumps (a PIN or a key may be in
 * memory) and no new privileges for whatever is started. */
enum status privileges_drop(const struct conf_server *conf, struct diags *d) MUST_USE;
/* As many descriptors as the system allows: connections, sockets, files. */
void privileges_raise_files(void);

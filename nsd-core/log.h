/* The log: lines on stderr, one write each. Under systemd a line starts with its level ("<4>"),
 * elsewhere with the time. Control characters are escaped, long lines cut. Any thread. */
#pragma once

#include "nsd-core/base/status.h"

void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_error(const char *fmt, ...) PRINTF(1, 2);
/* Each finding as a line, then how many were counted but not kept. */
void log_diags(const struct diags *d);

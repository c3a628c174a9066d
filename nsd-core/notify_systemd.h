/* sd_notify(3) without its library: tells systemd (or whoever set NOTIFY_SOCKET) how the server
 * fares. */
#pragma once

#include "nsd-core/base/status.h"

/* "READY=1", "STOPPING=1", "STATUS=..."; newlines separate several. Nothing happens where nobody
 * asked. ST_EIO: the socket is there and does not take it. */
enum status notify_systemd(const char *state);

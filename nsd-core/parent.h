/* Does the parent have a DS for a zone? Asked of the parent's servers one by one, over TCP, without
 * recursion. Blocks; builder threads. */
#pragma once

#include "nsd-core/conf.h"

#include <stdatomic.h>

enum parent_ds {
	PARENT_UNKNOWN, /* no usable answer from one of them */
	PARENT_ABSENT,	/* every server says, with authority, that there is none */
	PARENT_PRESENT, /* at least one has a DS */
};

#define PARENT_TIMEOUT_MS 3000 /* per server, connection included */

enum parent_ds parent_ask(const uint8_t *zone, const struct conf_address *servers, size_t count,
			  const _Atomic(bool) *stop);
/* What one reply to (id, zone, DS) says. */
enum parent_ds parent_read_reply(const uint8_t *zone, uint16_t id, const uint8_t *reply,
				 size_t len);

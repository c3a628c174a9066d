/* Serials of zones: what the next one is (RFC 1982 has the arithmetic, serial_gt()). */
#pragma once

#include <stdint.h>

/* In the order of the configuration's words. */
enum serial_kind {
	SERIAL_KEEP, /* the file's, whatever was published before */
	SERIAL_INCREMENT,
	SERIAL_UNIXTIME, /* seconds since 1970 */
	SERIAL_DATE,	 /* YYYYMMDDnn, the day in UTC */
};

/* The serial behind 'last' at 'now_s' (seconds since 1970): the greater of what the clock says, as
 * 'kind' writes it, and last + 1. It is ahead of 'last' whatever the clock does: more than a
 * hundred changes in a day run into the next day's. */
uint32_t serial_next(enum serial_kind kind, uint32_t last, int64_t now_s);
/* The first serial of a zone that nobody has yet: the file's, or what the clock says where that is
 * ahead. */
uint32_t serial_first(enum serial_kind kind, uint32_t file, int64_t now_s);

#include "nsd-core/base/serial.h"

#include "nsd-core/base/clock.h"

#include <stdbool.h>
#include <time.h>

/* Beyond it YYYYMMDDnn has no room in 32 bits. */
#define DATE_YEAR_MAX 4293

/* False: the kind does not look at the clock, or the clock says nothing that can be used. */
static bool by_clock(enum serial_kind kind, int64_t now_s, uint32_t *out)
{
	time_t t = (time_t)now_s;
	struct tm tm;

	if (kind == SERIAL_UNIXTIME) {
		*out = (uint32_t)now_s;
		return true;
	}
	if (kind != SERIAL_DATE || gmtime_r(&t, &tm) == NULL || tm.tm_year + 1900 < 1 ||
	    tm.tm_year + 1900 > DATE_YEAR_MAX) {
		return false;
	}
	*out = (((uint32_t)tm.tm_year + 1900) * 10000 + ((uint32_t)tm.tm_mon + 1) * 100 +
		(uint32_t)tm.tm_mday) *
	       100;
	return true;
}

uint32_t serial_next(enum serial_kind kind, uint32_t last, int64_t now_s)
{
	uint32_t clock = 0;

	return by_clock(kind, now_s, &clock) && serial_gt(clock, last) ? clock : last + 1;
}

uint32_t serial_first(enum serial_kind kind, uint32_t file, int64_t now_s)
{
	uint32_t clock = 0;

	return by_clock(kind, now_s, &clock) && serial_gt(clock, file) ? clock : file;
}

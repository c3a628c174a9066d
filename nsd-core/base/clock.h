/* Time, in one place so that tests can set it. */
#pragma once

#include <stdint.h>

/* Seconds since 1970 (wall clock): for signatures and keys. */
int64_t clock_wall_s(void);
/* Milliseconds that never go back: for time-outs. */
int64_t clock_mono_ms(void);
/* The same clock in microseconds: for what is measured. */
int64_t clock_mono_us(void);
/* Tests: freeze both clocks at these values, or let them run again with -1, -1. */
void clock_fake(int64_t wall_s, int64_t mono_ms);

/* Serial number arithmetic (RFC 1982) over 32 bits, for SOA serials and RRSIG times: is a > b? */
static inline int serial_gt(uint32_t a, uint32_t b)
{
	return a != b && (uint32_t)(a - b) < UINT32_C(0x80000000);
}

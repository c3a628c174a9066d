#include "nsd-core/base/clock.h"

#include <stdatomic.h>
#include <time.h>

/* The one piece of global state that changes: tests set it, the server never does. -1: not faked.
 */
static _Atomic(int64_t) fake_wall_s = -1;
static _Atomic(int64_t) fake_mono_ms = -1;

int64_t clock_wall_s(void)
{
	int64_t fake = atomic_load_explicit(&fake_wall_s, memory_order_relaxed);
	struct timespec ts;

	if (fake != -1) {
		return fake;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

int64_t clock_mono_us(void)
{
	int64_t fake = atomic_load_explicit(&fake_mono_ms, memory_order_relaxed);
	struct timespec ts;

	if (fake != -1) {
		return fake * 1000;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

void clock_fake(int64_t wall_s, int64_t mono_ms)
{
	atomic_store_explicit(&fake_wall_s, wall_s, memory_order_relaxed);
	atomic_store_explicit(&fake_mono_ms, mono_ms, memory_order_relaxed);
}

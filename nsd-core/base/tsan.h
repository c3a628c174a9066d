/* What ThreadSanitizer is told about libraries it cannot see into; nothing in other builds. */
#pragma once

#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif

#ifdef TSAN
#include <sanitizer/tsan_interface.h>
/* All that happened before the release of an address is seen after its acquire. */
#define tsan_release(addr) __tsan_release((void *)(uintptr_t)(addr))
#define tsan_acquire(addr) __tsan_acquire((void *)(uintptr_t)(addr))
#else
#define tsan_release(addr) ((void)(addr))
#define tsan_acquire(addr) ((void)(addr))
#endif

/* Binary to text and back: hex, base64 (RFC 4648 4), base32hex without padding (section 7), DNSSEC
 * times and durations. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdbool.h>

/* Decoders: 'text' may hold no white space. *out_len: octets written. ST_EPARSE; ST_ESPACE when
 * 'room' is too small. */
enum status hex_decode(const char *text, size_t len, uint8_t *out, size_t room,
		       size_t *out_len) MUST_USE;
enum status base64_decode(const char *text, size_t len, uint8_t *out, size_t room,
			  size_t *out_len) MUST_USE;
enum status base32hex_decode(const char *text, size_t len, uint8_t *out, size_t room,
			     size_t *out_len) MUST_USE;

/* Encoders: NUL-terminated; 'buf' must have TEXT_*_SIZE(len). Return buf. Hex is upper case,
 * base32hex lower case. */
#define TEXT_HEX_SIZE(n)       ((n)*2 + 1)
#define TEXT_BASE64_SIZE(n)    (((n) + 2) / 3 * 4 + 1)
#define TEXT_BASE32HEX_SIZE(n) (((n)*8 + 4) / 5 + 1)
char *hex_encode(const uint8_t *data, size_t len, char *buf);
char *base64_encode(const uint8_t *data, size_t len, char *buf);
char *base32hex_encode(const uint8_t *data, size_t len, char *buf);

/* Decimal digits only, no sign, at most 'max'. */
enum status text_to_u32(const char *text, size_t len, uint32_t max, uint32_t *out) MUST_USE;

/* RRSIG times (RFC 4034 3.2): YYYYMMDDHHmmSS or seconds since 1970. */
enum status text_to_sigtime(const char *text, size_t len, uint32_t *out) MUST_USE;
char *sigtime_to_text(uint32_t t, char buf[15]);

/* A master file's TTL: seconds, or a sum of units s m h d w in any case ("1h30m"); at most 2^31
 * - 1. */
enum status text_to_ttl(const char *text, size_t len, uint32_t *out) MUST_USE;

/* Time as people read it: "2026-11-22 18:37:20Z"; past the year 9999 (INT64_MAX) "never", before
 * the year 0 "long ago". */
char *time_to_text(int64_t t, char buf[24]);

/* Equal without regard to ASCII case. */
bool text_equal_nocase(const char *a, size_t a_len, const char *b);

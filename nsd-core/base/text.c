#include "nsd-core/base/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	if (c == '+') {
		return 62;
	}
	return c == '/' ? 63 : -1;
}

static int base32hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'v') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'V') {
		return c - 'A' + 10;
	}
	return -1;
}

/* Are all characters digits of the base? Checked before anything is written. */
static bool all_digits(const char *text, size_t len, int (*value)(char))
{
	for (size_t i = 0; i < len; i++) {
		if (value(text[i]) < 0) {
			return false;
		}
	}
	return true;
}

/* Digits of 'bits' each, checked already, to octets; bits left over at the end are dropped. */
static size_t decode_bits(const char *text, size_t len, int (*value)(char), unsigned bits,
			  uint8_t *out)
{
	uint32_t acc = 0;
	unsigned have = 0;
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		acc = acc << bits | (uint32_t)value(text[i]);
		have += bits;
		if (have >= 8) {
			have -= 8;
			out[used++] = (uint8_t)(acc >> have);
		}
	}
	return used;
}

enum status hex_decode(const char *text, size_t len, uint8_t *out, size_t room, size_t *out_len)
{
	if (len % 2 != 0 || !all_digits(text, len, hex_value)) {
		return ST_EPARSE;
	}
	if (len / 2 > room) {
		return ST_ESPACE;
	}
	*out_len = decode_bits(text, len, hex_value, 4, out);
	return ST_OK;
}

enum status base64_decode(const char *text, size_t len, uint8_t *out, size_t room, size_t *out_len)
{
	size_t digits = len;

	if (len % 4 != 0) {
		return ST_EPARSE;
	}
	while (digits > 0 && len - digits < 2 && text[digits - 1] == '=') {
		digits--;
	}
	if (!all_digits(text, digits, base64_value)) {
		return ST_EPARSE;
	}
	/* Bits that stand for nothing must be zero, so that data has one text only (RFC 4648 3.5).
	 */
	size_t unused_bits = (len - digits) * 2;
	if (unused_bits > 0 && (base64_value(text[digits - 1]) & ((1 << unused_bits) - 1)) != 0) {
		return ST_EPARSE;
	}
	if (digits * 6 / 8 > room) {
		return ST_ESPACE;
	}
	*out_len = decode_bits(text, digits, base64_value, 6, out);
	return ST_OK;
}

enum status base32hex_decode(const char *text, size_t len, uint8_t *out, size_t room,
			     size_t *out_len)
{
	size_t unused_bits = len * 5 % 8;

	/* Five bits and more left over: a last digit that adds no octet. */
	if (unused_bits >= 5 || !all_digits(text, len, base32hex_value)) {
		return ST_EPARSE;
	}
	if (unused_bits > 0 && (base32hex_value(text[len - 1]) & ((1 << unused_bits) - 1)) != 0) {
		return ST_EPARSE;
	}
	if (len * 5 / 8 > room) {
		return ST_ESPACE;
	}
	*out_len = decode_bits(text, len, base32hex_value, 5, out);
	return ST_OK;
}

char *hex_encode(const uint8_t *data, size_t len, char *buf)
{
	static const char digits[] = "0123456789ABCDEF";
	char *p = buf;

	for (size_t i = 0; i < len; i++) {
		*p++ = digits[data[i] >> 4];
		*p++ = digits[data[i] & 15];
	}
	*p = '\0';
	return buf;
}

/* Octets to digits of 'bits' each, the last one filled up with zero bits. Returns the end. */
static char *encode_bits(const uint8_t *data, size_t len, const char *digits, unsigned bits,
			 char *p)
{
	uint32_t mask = (UINT32_C(1) << bits) - 1;
	uint32_t acc = 0;
	unsigned have = 0;

	for (size_t i = 0; i < len; i++) {
		acc = acc << 8 | data[i];
		have += 8;
		while (have >= bits) {
			have -= bits;
			*p++ = digits[acc >> have & mask];
		}
	}
	if (have > 0) {
		*p++ = digits[acc << (bits - have) & mask];
	}
	return p;
}

char *base64_encode(const uint8_t *data, size_t len, char *buf)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *p = encode_bits(data, len, digits, 6, buf);

	while ((p - buf) % 4 != 0) {
		*p++ = '=';
	}
	*p = '\0';
	return buf;
}

char *base32hex_encode(const uint8_t *data, size_t len, char *buf)
{
	*encode_bits(data, len, "0123456789abcdefghijklmnopqrstuv", 5, buf) = '\0';
	return buf;
}

enum status text_to_u32(const char *text, size_t len, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;

	if (len == 0) {
		return ST_EPARSE;
	}
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return ST_EPARSE;
		}
		value = value * 10 + (uint64_t)(text[i] - '0');
		if (value > max) {
			return ST_EPARSE;
		}
	}
	*out = (uint32_t)value;
	return ST_OK;
}

static bool is_leap(uint32_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from 1970-01-01 to the first of January of the year. */
static uint32_t days_before_year(uint32_t year)
{
	uint32_t past = year - 1;

	return (year - 1970) * 365 + (past / 4 - 1969 / 4) - (past / 100 - 1969 / 100) +
	       (past / 400 - 1969 / 400);
}

/* "YYYYMMDDHHmmSS", all digits. */
static enum status date_to_sigtime(const char *text, uint32_t *out)
{
	static const uint16_t before_month[] = {0,   31,  59,  90,  120, 151, 181,
						212, 243, 273, 304, 334, 365};
	uint32_t field[6];
	static const uint8_t width[6] = {4, 2, 2, 2, 2, 2};

	for (size_t i = 0; i < 6; i++) {
		if (text_to_u32(text, width[i], 9999, &field[i]) != ST_OK) {
			return ST_EPARSE;
		}
		text += width[i];
	}
	uint32_t year = field[0];
	uint32_t month = field[1];
	uint32_t day = field[2];
	if (year < 1970 || year > 2106 || month < 1 || month > 12 || day < 1 || field[3] > 23 ||
	    field[4] > 59 || field[5] > 59) {
		return ST_EPARSE;
	}
	uint32_t month_days = (uint32_t)before_month[month] - before_month[month - 1];
	if (day > month_days + (month == 2 && is_leap(year))) {
		return ST_EPARSE;
	}
	uint32_t days = days_before_year(year) + before_month[month - 1] +
			(month > 2 && is_leap(year)) + day - 1;
	uint64_t seconds = (uint64_t)days * 86400 + field[3] * UINT64_C(3600) +
			   field[4] * UINT64_C(60) + field[5];
	if (seconds > UINT32_MAX) {
		return ST_EPARSE;
	}
	*out = (uint32_t)seconds;
	return ST_OK;
}

enum status text_to_sigtime(const char *text, size_t len, uint32_t *out)
{
	return len == 14 ? date_to_sigtime(text, out) : text_to_u32(text, len, UINT32_MAX, out);
}

char *sigtime_to_text(uint32_t t, char buf[15])
{
	time_t seconds = (time_t)t;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(buf, 15, "%Y%m%d%H%M%S", &tm);
	return buf;
}

/* Seconds of a TTL unit, 0 where there is no such unit. */
static uint32_t ttl_unit(char c)
{
	switch (c | 0x20) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	case 'w':
		return 604800;
	default:
		return 0;
	}
}

enum status text_to_ttl(const char *text, size_t len, uint32_t *out)
{
	uint64_t total = 0;
	size_t at = 0;

	if (text_to_u32(text, len, INT32_MAX, out) == ST_OK) {
		return ST_OK;
	}
	if (len == 0) {
		return ST_EPARSE;
	}
	while (at < len) {
		size_t digits = 0;
		uint32_t count;
		while (at + digits < len && text[at + digits] >= '0' && text[at + digits] <= '9') {
			digits++;
		}
		uint32_t unit = at + digits < len ? ttl_unit(text[at + digits]) : 0;
		if (unit == 0 || text_to_u32(text + at, digits, INT32_MAX, &count) != ST_OK) {
			return ST_EPARSE;
		}
		total += (uint64_t)count * unit;
		if (total > INT32_MAX) {
			return ST_EPARSE;
		}
		at += digits + 1;
	}
	*out = (uint32_t)total;
	return ST_OK;
}

char *time_to_text(int64_t t, char buf[24])
{
	/* 0000-01-01 and 9999-12-31: what four digits of a year can say. */
	static const int64_t first = INT64_C(-62167219200);
	static const int64_t last = INT64_C(253402300799);
	struct tm tm;

	if (t < first || t > last) {
		memcpy(buf, t < first ? "long ago" : "never", t < first ? 9 : 6);
		return buf;
	}
	time_t seconds = (time_t)t;
	gmtime_r(&seconds, &tm);
	snprintf(buf, 24, "%04u-%02u-%02u %02u:%02u:%02uZ", (unsigned)(tm.tm_year + 1900) % 10000,
		 (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
		 (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
	return buf;
}

bool text_equal_nocase(const char *a, size_t a_len, const char *b)
{
	for (size_t i = 0; i < a_len; i++) {
		char ca = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] | 0x20) : a[i];
		char cb = b[i] >= 'A' && b[i] <= 'Z' ? (char)(b[i] | 0x20) : b[i];
		if (ca != cb || cb == '\0') {
			return false;
		}
	}
	return b[a_len] == '\0';
}

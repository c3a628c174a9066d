#include "zones/rdata_types.h"

#include "nsd-core/base/name.h"
#include "nsd-core/base/text.h"

#include <arpa/inet.h>
#include <stdio.h>

char *text_room(struct text_out *t, size_t n)
{
	if (t->full || (size_t)(t->end - t->pos) < n) {
		t->full = true;
		return NULL;
	}
	char *p = t->pos;
	t->pos += n;
	return p;
}

void text_put(struct text_out *t, const char *s, size_t len)
{
	char *p = text_room(t, len);
	if (p != NULL && len > 0) {
		memcpy(p, s, len);
	}
}

void text_puts(struct text_out *t, const char *s)
{
	text_put(t, s, strlen(s));
}

void text_putf(struct text_out *t, const char *fmt, ...)
{
	char buf[128];
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	text_put(t, buf, (size_t)n);
}

void text_quoted(struct text_out *t, struct bytes s)
{
	text_puts(t, "\"");
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];
		if (c == '"' || c == '\\') {
			text_putf(t, "\\%c", c);
		} else if (c < 0x20 || c >= 0x7f) {
			text_putf(t, "\\%03u", c);
		} else {
			text_put(t, (const char *)&s.data[i], 1);
		}
	}
	text_puts(t, "\"");
}

/* The encoders end with a NUL: it goes where the next piece goes, or into the octet kept back. */
static void put_hex(struct text_out *t, struct bytes data)
{
	char *p = text_room(t, TEXT_HEX_SIZE(data.len) - 1);
	if (p != NULL) {
		hex_encode(data.data, data.len, p);
	}
}

void text_base64(struct text_out *t, struct bytes data)
{
	char *p = text_room(t, TEXT_BASE64_SIZE(data.len) - 1);
	if (p != NULL) {
		base64_encode(data.data, data.len, p);
	}
}

static void put_base32hex(struct text_out *t, struct bytes data)
{
	char *p = text_room(t, TEXT_BASE32HEX_SIZE(data.len) - 1);
	if (p != NULL) {
		base32hex_encode(data.data, data.len, p);
	}
}

static void put_name(struct text_out *t, struct bytes name)
{
	char buf[NAME_TEXT_MAX];
	text_puts(t, name_to_text(name.data, buf));
}

static void put_bitmap(struct text_out *t, struct bytes bitmap)
{
	const uint8_t *p = bitmap.data;
	const uint8_t *end = p + bitmap.len;
	char buf[RRTYPE_TEXT_MAX];
	const char *separator = "";
	for (; p < end; p += 2 + p[1]) {
		for (unsigned bit = 0; bit < 8u * p[1]; bit++) {
			if ((p[2 + bit / 8] & 0x80 >> bit % 8) != 0) {
				text_puts(t, separator);
				text_puts(t, rrtype_to_text((uint16_t)(p[0] * 256u + bit), buf));
				separator = " ";
			}
		}
	}
}

static void put_groups(struct text_out *t, struct bytes data, char field)
{
	for (size_t i = 0; i < data.len; i++) {
		const char *separator = i == 0 ? "" : field != 'l' ? "-" : i % 2 == 0 ? ":" : "";
		text_putf(t, "%s%02x", separator, data.data[i]);
	}
}

static void put_strings(struct text_out *t, struct wreader *r)
{
	text_quoted(t, wreader_str8(r));
	while (wreader_left(r) > 0) {
		text_puts(t, " ");
		text_quoted(t, wreader_str8(r));
	}
}

static void put_address(struct text_out *t, struct wreader *r, char field)
{
	char buf[INET6_ADDRSTRLEN];
	struct bytes addr = wreader_bytes(r, field == 'a' ? 4 : 16);
	text_puts(t, inet_ntop(field == 'a' ? AF_INET : AF_INET6, addr.data, buf, sizeof(buf)));
}

/* What takes the rest of the RDATA. */
static void put_rest(struct text_out *t, struct wreader *r, char field)
{
	if (field == 'S') {
		put_strings(t, r);
		return;
	}
	struct bytes rest = wreader_bytes(r, wreader_left(r));
	switch (field) {
	case 'x':
		put_hex(t, rest);
		break;
	case 'b':
		text_base64(t, rest);
		break;
	case 'B':
	case 'o':
		put_bitmap(t, rest);
		break;
	case 'V':
		svcb_text(rest, t);
		break;
	default: /* 'q' 'Q' */
		text_quoted(t, rest);
		break;
	}
}

static void put_short(struct text_out *t, struct wreader *r, char field)
{
	struct bytes data = wreader_str8(r);
	switch (field) {
	case 'X':
		if (data.len == 0) {
			text_puts(t, "-");
		}
		put_hex(t, data);
		break;
	case 'H':
		put_base32hex(t, data);
		break;
	case 'c':
		text_put(t, (const char *)data.data, data.len);
		break;
	default: /* 's' 'O' */
		text_quoted(t, data);
		break;
	}
}

/* A field of RDATA that rdata_check() found good. */
static void put_field(struct text_out *t, struct wreader *r, char field)
{
	char buf[RRTYPE_TEXT_MAX];
	switch (field) {
	case 'N':
	case 'n':
	case 'p':
		put_name(t, wreader_name(r));
		break;
	case '1':
	case 'g':
	case 'h':
		text_putf(t, "%u", wreader_u8(r));
		break;
	case '2':
	case 'C':
		text_putf(t, "%u", wreader_u16(r));
		break;
	case '4':
	case 't':
		text_putf(t, "%u", wreader_u32(r));
		break;
	case 'T':
		text_puts(t, sigtime_to_text(wreader_u32(r), buf));
		break;
	case 'y':
		text_puts(t, rrtype_to_text(wreader_u16(r), buf));
		break;
	case 'a':
	case 'A':
		put_address(t, r, field);
		break;
	case 'l':
		put_groups(t, wreader_bytes(r, 8), field);
		break;
	case 'e':
		put_groups(t, wreader_bytes(r, 6), field);
		break;
	case 'E':
		put_groups(t, wreader_bytes(r, 8), field);
		break;
	case 's':
	case 'O':
	case 'c':
	case 'X':
	case 'H':
		put_short(t, r, field);
		break;
	default:
		put_rest(t, r, field);
		break;
	}
}

/* RFC 3597 5. */
static void put_generic(struct text_out *t, struct bytes rdata)
{
	text_putf(t, "\\# %zu", rdata.len);
	if (rdata.len > 0) {
		text_puts(t, " ");
		put_hex(t, rdata);
	}
}

enum status rdata_to_text(uint16_t type, struct bytes rdata, char *buf, size_t room)
{
	const char *fields = rdata_type_get(type)->fields;
	const char *why;
	/* One octet is kept back for the NUL. */
	struct text_out t = {
		.pos = buf, .end = room == 0 ? buf : buf + room - 1, .full = room == 0};
	if (rdata_check(type, rdata, &why) != ST_OK) {
		put_generic(&t, rdata);
	} else if (fields != NULL) {
		struct wreader r;
		wreader_init(&r, rdata.data, rdata.len);
		for (; *fields != '\0'; fields++) {
			/* What may be absent at the end (bitmap, SvcParams) has no text then; an
			 * empty string has. */
			if (wreader_left(&r) == 0 && *fields != 'q') {
				break;
			}
			if (t.pos > buf) {
				text_puts(&t, " ");
			}
			put_field(&t, &r, *fields);
		}
	} else {
		enum status st = rdata_ldns_text(type, rdata, &t);
		if (st == ST_ENOTSUP) {
			put_generic(&t, rdata);
		} else if (st != ST_OK) {
			return st;
		}
	}
	if (t.full) {
		return ST_ESPACE;
	}
	*t.pos = '\0';
	return ST_OK;
}

/* SvcParams of SVCB and HTTPS (RFC 9460 2.1, 2.2, 7, 8 and appendix A; RFC 9461; RFC 9540). */
#include "zones/rdata_types.h"

#include "nsd-core/base/text.h"

#include <arpa/inet.h>
#include <stdio.h>

enum svcb_key {
	SVCB_MANDATORY = 0,
	SVCB_ALPN = 1,
	SVCB_NO_DEFAULT_ALPN = 2,
	SVCB_PORT = 3,
	SVCB_IPV4HINT = 4,
	SVCB_ECH = 5,
	SVCB_IPV6HINT = 6,
	SVCB_DOHPATH = 7,
	SVCB_OHTTP = 8,
	SVCB_KNOWN,
	SVCB_INVALID = 65535,
};

static const char *const key_names[SVCB_KNOWN] = {
	[SVCB_MANDATORY] = "mandatory",
	[SVCB_ALPN] = "alpn",
	[SVCB_NO_DEFAULT_ALPN] = "no-default-alpn",
	[SVCB_PORT] = "port",
	[SVCB_IPV4HINT] = "ipv4hint",
	[SVCB_ECH] = "ech",
	[SVCB_IPV6HINT] = "ipv6hint",
	[SVCB_DOHPATH] = "dohpath",
	[SVCB_OHTTP] = "ohttp",
};

/* One SvcParam as octets: be16 key, be16 length, value. */
#define PARAM_HEAD 4

static size_t param_size(const uint8_t *p)
{
	return PARAM_HEAD + (size_t)be16_get(p + 2);
}

static enum status key_from_text(const char *text, size_t len, uint16_t *out)
{
	uint32_t value;
	for (size_t i = 0; i < SVCB_KNOWN; i++) {
		if (len == strlen(key_names[i]) && memcmp(text, key_names[i], len) == 0) {
			*out = (uint16_t)i;
			return ST_OK;
		}
	}
	if (len < 4 || memcmp(text, "key", 3) != 0 || (len > 4 && text[3] == '0') ||
	    text_to_u32(text + 3, len - 3, SVCB_INVALID - 1, &value) != ST_OK) {
		return ST_EPARSE;
	}
	*out = (uint16_t)value;
	return ST_OK;
}

static void key_text(struct text_out *t, uint16_t key)
{
	if (key < SVCB_KNOWN) {
		text_puts(t, key_names[key]);
	} else {
		text_putf(t, "key%u", key);
	}
}

/* The next piece of a comma-separated list without escapes; false at the end. */
static bool list_next(const char **pos, const char *end, const char **item, size_t *len)
{
	if (*pos > end) {
		return false;
	}
	const char *comma = memchr(*pos, ',', (size_t)(end - *pos));
	const char *stop = comma == NULL ? end : comma;
	*item = *pos;
	*len = (size_t)(stop - *pos);
	*pos = stop + 1;
	return true;
}

static enum status value_mandatory(struct rdata_parse *p, const char *text, size_t len)
{
	uint8_t *first = p->w.pos;
	const char *end = text + len;
	const char *item;
	size_t item_len;
	while (list_next(&text, end, &item, &item_len)) {
		uint16_t key;
		if (key_from_text(item, item_len, &key) != ST_OK) {
			return rdata_expected(p, "expected a list of SvcParam keys");
		}
		wwriter_u16(&p->w, key);
		if (p->w.err != ST_OK) {
			return ST_OK;
		}
		/* In ascending order; what stands twice is found by svcb_check(). */
		for (uint8_t *q = p->w.pos - 2; q > first && be16_get(q - 2) > be16_get(q);
		     q -= 2) {
			uint16_t before = be16_get(q - 2);
			be16_put(q - 2, be16_get(q));
			be16_put(q, before);
		}
	}
	return ST_OK;
}

/* Ids are separated by commas; in an id "\," and "\\" stand for comma and backslash. These escapes
 * lie under those of the character-string (RFC 9460 A.1). */
static enum status value_alpn(struct rdata_parse *p, const char *text, size_t len)
{
	const char *why = "expected a list of ALPN ids";
	const char *end = text + len;
	uint8_t id[255];
	size_t id_len = 0;
	bool more = true;
	while (more) {
		uint8_t c = ',';
		more = text < end;
		if (more && rdata_unescape_octet(&text, end, &c) != ST_OK) {
			return rdata_expected(p, why);
		}
		if (c == ',') {
			if (id_len == 0) {
				return rdata_expected(p, why);
			}
			wwriter_str8(&p->w, id, id_len);
			id_len = 0;
			continue;
		}
		if (c == '\\' && (text == end || rdata_unescape_octet(&text, end, &c) != ST_OK ||
				  (c != ',' && c != '\\'))) {
			return rdata_expected(p, why);
		}
		if (id_len == sizeof(id)) {
			return rdata_expected(p, "expected ALPN ids of at most 255 octets");
		}
		id[id_len++] = c;
	}
	return ST_OK;
}

static enum status value_addresses(struct rdata_parse *p, const char *text, size_t len, bool v6)
{
	const char *end = text + len;
	const char *item;
	size_t item_len;
	while (list_next(&text, end, &item, &item_len)) {
		uint8_t addr[16];
		enum status st = v6 ? ipv6_from_text(item, item_len, addr)
				    : ipv4_from_text(item, item_len, addr);
		if (st != ST_OK) {
			return rdata_expected(p, v6 ? "expected a list of IPv6 addresses"
						    : "expected a list of IPv4 addresses");
		}
		wwriter_put(&p->w, addr, v6 ? 16 : 4);
	}
	return ST_OK;
}

static enum status value_opaque(struct rdata_parse *p, const char *text, size_t len)
{
	size_t out_len;
	enum status st = rdata_unescape(text, len, p->w.pos, wwriter_left(&p->w), &out_len);
	if (st != ST_OK) {
		return rdata_expected(p, st == ST_ESPACE
						 ? "expected at most 65535 octets of RDATA"
						 : "expected a value with escapes \\X or \\DDD");
	}
	p->w.pos += out_len;
	return ST_OK;
}

static enum status value_ech(struct rdata_parse *p, const char *text, size_t len)
{
	size_t out_len;
	if (base64_decode(text, len, p->w.pos, wwriter_left(&p->w), &out_len) != ST_OK) {
		return rdata_expected(p, "expected an ECHConfigList in base64");
	}
	p->w.pos += out_len;
	return ST_OK;
}

static enum status value_port(struct rdata_parse *p, const char *text, size_t len)
{
	uint32_t port;
	if (text_to_u32(text, len, UINT16_MAX, &port) != ST_OK) {
		return rdata_expected(p, "expected a port from 0 to 65535");
	}
	wwriter_u16(&p->w, (uint16_t)port);
	return ST_OK;
}

/* 'by_name': the key was not written as keyNNNNN, so the value has the key's own form. */
static enum status parse_value(struct rdata_parse *p, uint16_t key, bool by_name, const char *text,
			       size_t len)
{
	if (!by_name) {
		return value_opaque(p, text, len);
	}
	switch (key) {
	case SVCB_MANDATORY:
		return value_mandatory(p, text, len);
	case SVCB_ALPN:
		return value_alpn(p, text, len);
	case SVCB_PORT:
		return value_port(p, text, len);
	case SVCB_IPV4HINT:
		return value_addresses(p, text, len, false);
	case SVCB_IPV6HINT:
		return value_addresses(p, text, len, true);
	case SVCB_ECH:
		return value_ech(p, text, len);
	default: /* the keys without a value are checked by svcb_check() */
		return value_opaque(p, text, len);
	}
}

/* Moves the last parameter, which starts at 'last', to its place among those from 'first' on. */
static enum status sort_last(struct rdata_parse *p, uint8_t *first, uint8_t *last,
			     const uint8_t *before)
{
	uint16_t key = be16_get(last);
	uint8_t *at = first;
	if (before == NULL || be16_get(before) < key) {
		return ST_OK;
	}
	while (be16_get(at) < key) {
		at += param_size(at);
	}
	if (be16_get(at) == key) {
		return rdata_expected(p, "expected each SvcParam key only once");
	}
	/* Rotation by three reversals: the value may be as large as the RDATA. */
	size_t left = (size_t)(last - at);
	size_t size = (size_t)(p->w.pos - last);
	for (size_t round = 0; round < 3; round++) {
		uint8_t *lo = round == 2 ? at + size : at;
		uint8_t *hi = round == 1 ? at + size : at + left + size;
		while (lo < hi) {
			uint8_t octet = *lo;
			*lo++ = *--hi;
			*hi = octet;
		}
	}
	return ST_OK;
}

static enum status parse_param(struct rdata_parse *p)
{
	const struct token *t = &p->tokens[p->next];
	if (t->quoted) {
		return rdata_expected(p, "expected a SvcParam key");
	}
	const char *equals = memchr(t->text, '=', t->len);
	size_t key_len = equals == NULL ? t->len : (size_t)(equals - t->text);
	uint16_t key;
	if (key_from_text(t->text, key_len, &key) != ST_OK) {
		return rdata_expected(p, "expected a SvcParam key");
	}
	const char *value = equals == NULL ? t->text + t->len : equals + 1;
	size_t value_len = (size_t)(t->text + t->len - value);
	size_t used = 1;
	/* key="value": the scanner made two tokens of it, with nothing but the quote between. */
	if (equals != NULL && value_len == 0 && p->next + 1 < p->count && t[1].quoted &&
	    t[1].text == t->text + t->len + 1) {
		value = t[1].text;
		value_len = t[1].len;
		used = 2;
	}
	uint8_t *start = p->w.pos;
	wwriter_u16(&p->w, key);
	wwriter_u16(&p->w, 0);
	bool by_name = key < SVCB_KNOWN && memcmp(t->text, "key", 3) != 0;
	if (by_name && equals == NULL) {
		/* Only keys without a value stand alone; svcb_check() tells which those are. */
		by_name = false;
	}
	if (p->w.err == ST_OK) {
		enum status st = parse_value(p, key, by_name, value, value_len);
		if (st != ST_OK) {
			return st;
		}
	}
	if (p->w.err == ST_OK) {
		be16_put(start + 2, (uint16_t)(p->w.pos - start - PARAM_HEAD));
	}
	p->next += used;
	return ST_OK;
}

enum status svcb_parse(struct rdata_parse *p)
{
	uint8_t *first = p->w.pos;
	uint8_t *greatest = NULL;
	while (p->next < p->count) {
		size_t at = p->next;
		uint8_t *last = p->w.pos;
		enum status st = parse_param(p);
		if (st != ST_OK || p->w.err != ST_OK) {
			return st;
		}
		bool in_order = greatest == NULL || be16_get(greatest) < be16_get(last);
		size_t size = (size_t)(p->w.pos - last);
		st = sort_last(p, first, last, greatest);
		if (st != ST_OK) {
			p->next = at;
			return st;
		}
		greatest = in_order ? last : greatest + size;
	}
	return ST_OK;
}

static enum status wrong(const char **why, const char *text)
{
	*why = text;
	return ST_EPARSE;
}

static bool alpn_valid(struct bytes value)
{
	struct wreader r;
	wreader_init(&r, value.data, value.len);
	do {
		if (wreader_str8(&r).len == 0) {
			return false;
		}
	} while (wreader_left(&r) > 0);
	return r.err == ST_OK;
}

/* RFC 9461 5: a URI template, relative, that has the variable "dns". */
static bool dohpath_valid(struct bytes value)
{
	bool expression = false;
	bool dns = false;
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] == 0) {
			return false;
		}
		expression = expression || value.data[i] == '{';
		dns = dns ||
		      (expression && value.len - i >= 3 && memcmp(value.data + i, "dns", 3) == 0);
	}
	return dns && value.data[0] == '/';
}

static enum status check_value(uint16_t key, struct bytes value, const char **why)
{
	switch (key) {
	case SVCB_MANDATORY:
		for (size_t i = 0; i + 1 < value.len; i += 2) {
			uint16_t k = be16_get(value.data + i);
			if (k == SVCB_MANDATORY || (i > 0 && be16_get(value.data + i - 2) >= k)) {
				return wrong(why, "expected each key in mandatory once, and not "
						  "mandatory itself");
			}
		}
		return value.len > 0 && value.len % 2 == 0
			       ? ST_OK
			       : wrong(why, "expected a value for mandatory");
	case SVCB_ALPN:
		return alpn_valid(value) ? ST_OK : wrong(why, "expected a value for alpn");
	case SVCB_NO_DEFAULT_ALPN:
		return value.len == 0 ? ST_OK : wrong(why, "expected no value for no-default-alpn");
	case SVCB_PORT:
		return value.len == 2 ? ST_OK : wrong(why, "expected a value for port");
	case SVCB_IPV4HINT:
		return value.len > 0 && value.len % 4 == 0
			       ? ST_OK
			       : wrong(why, "expected a value for ipv4hint");
	case SVCB_ECH:
		return value.len > 0 ? ST_OK : wrong(why, "expected a value for ech");
	case SVCB_IPV6HINT:
		return value.len > 0 && value.len % 16 == 0
			       ? ST_OK
			       : wrong(why, "expected a value for ipv6hint");
	case SVCB_DOHPATH:
		return dohpath_valid(value)
			       ? ST_OK
			       : wrong(why, "expected a URI template with dns for dohpath");
	case SVCB_OHTTP:
		return value.len == 0 ? ST_OK : wrong(why, "expected no value for ohttp");
	case SVCB_INVALID:
		return wrong(why, "expected a key below 65535");
	default:
		return ST_OK;
	}
}

/* Both lists ascend, so one walk over each will do. */
static bool has_all(struct bytes params, struct bytes mandatory)
{
	const uint8_t *p = params.data;
	const uint8_t *end = p + params.len;
	for (size_t i = 0; i < mandatory.len; i += 2) {
		uint16_t want = be16_get(mandatory.data + i);
		while (p < end && be16_get(p) < want) {
			p += param_size(p);
		}
		if (p >= end || be16_get(p) != want) {
			return false;
		}
	}
	return true;
}

enum status svcb_check(struct bytes params, const char **why)
{
	struct wreader r;
	struct bytes mandatory = {NULL, 0};
	bool alpn = false;
	bool no_default_alpn = false;
	int last = -1;
	wreader_init(&r, params.data, params.len);
	while (wreader_left(&r) > 0) {
		uint16_t key = wreader_u16(&r);
		struct bytes value = wreader_bytes(&r, wreader_u16(&r));
		if (r.err != ST_OK || key <= last) {
			return wrong(why, "expected SvcParams in ascending order");
		}
		enum status st = check_value(key, value, why);
		if (st != ST_OK) {
			return st;
		}
		last = key;
		if (key == SVCB_MANDATORY) {
			mandatory = value;
		}
		alpn = alpn || key == SVCB_ALPN;
		no_default_alpn = no_default_alpn || key == SVCB_NO_DEFAULT_ALPN;
	}
	if (r.err != ST_OK) {
		return wrong(why, "expected whole SvcParams");
	}
	if (!has_all(params, mandatory)) {
		return wrong(why, "expected every key that mandatory names");
	}
	if (no_default_alpn && !alpn) {
		return wrong(why, "expected alpn beside no-default-alpn");
	}
	return ST_OK;
}

static void text_alpn(struct text_out *t, struct bytes value)
{
	struct wreader r;
	const char *separator = "";
	wreader_init(&r, value.data, value.len);
	text_puts(t, "\"");
	while (wreader_left(&r) > 0) {
		struct bytes id = wreader_str8(&r);
		text_puts(t, separator);
		separator = ",";
		for (size_t i = 0; i < id.len; i++) {
			uint8_t c = id.data[i];
			if (c == '\\') {
				text_puts(t, "\\\\\\\\");
			} else if (c == ',') {
				text_puts(t, "\\\\,");
			} else if (c < 0x20 || c >= 0x7f || c == '"') {
				text_putf(t, "\\%03u", c);
			} else {
				text_put(t, (const char *)&id.data[i], 1);
			}
		}
	}
	text_puts(t, "\"");
}

static void text_addresses(struct text_out *t, struct bytes value, bool v6)
{
	char buf[INET6_ADDRSTRLEN];
	for (size_t i = 0; i < value.len; i += v6 ? 16 : 4) {
		text_puts(t, i == 0 ? "" : ",");
		text_puts(t, inet_ntop(v6 ? AF_INET6 : AF_INET, value.data + i, buf, sizeof(buf)));
	}
}

static void text_value(struct text_out *t, uint16_t key, struct bytes value)
{
	switch (key) {
	case SVCB_MANDATORY:
		for (size_t i = 0; i < value.len; i += 2) {
			text_puts(t, i == 0 ? "" : ",");
			key_text(t, be16_get(value.data + i));
		}
		break;
	case SVCB_ALPN:
		text_alpn(t, value);
		break;
	case SVCB_PORT:
		text_putf(t, "%u", be16_get(value.data));
		break;
	case SVCB_IPV4HINT:
	case SVCB_IPV6HINT:
		text_addresses(t, value, key == SVCB_IPV6HINT);
		break;
	case SVCB_ECH:
		text_base64(t, value);
		break;
	default:
		text_quoted(t, value);
		break;
	}
}

void svcb_text(struct bytes params, struct text_out *t)
{
	const uint8_t *end = params.data + params.len;
	for (const uint8_t *p = params.data; p < end; p += param_size(p)) {
		struct bytes value = {p + PARAM_HEAD, be16_get(p + 2)};
		text_puts(t, p == params.data ? "" : " ");
		key_text(t, be16_get(p));
		if (value.len > 0) {
			text_puts(t, "=");
			text_value(t, be16_get(p), value);
		}
	}
}

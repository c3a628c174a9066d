#include "zones/rdata_types.h"

#include "nsd-core/base/name.h"

/* RFC 4034 4.1.2: windows ascend, none is empty, none ends in a zero octet. */
static enum status bitmap_check(struct bytes bitmap, const char **why)
{
	const uint8_t *p = bitmap.data;
	size_t left = bitmap.len;
	int last = -1;
	while (left > 0) {
		if (left < 2 || p[0] <= last || p[1] == 0 || p[1] > 32 || left < 2u + p[1] ||
		    p[1 + p[1]] == 0) {
			*why = "expected a well-formed type bitmap";
			return ST_EPARSE;
		}
		last = p[0];
		left -= 2u + p[1];
		p += 2u + p[1];
	}
	return ST_OK;
}

static enum status fail(const char **why, const char *text)
{
	*why = text;
	return ST_EPARSE;
}

static bool caa_tag_valid(struct bytes tag)
{
	for (size_t i = 0; i < tag.len; i++) {
		uint8_t c = tag.data[i] | 0x20;
		if (!(c >= 'a' && c <= 'z') && !(tag.data[i] >= '0' && tag.data[i] <= '9')) {
			return false;
		}
	}
	return tag.len > 0;
}

static enum status check_strings(struct wreader *r, const char **why)
{
	do {
		wreader_str8(r);
	} while (r->err == ST_OK && wreader_left(r) > 0);
	return r->err == ST_OK ? ST_OK : fail(why, "expected a string of at most 255 octets");
}

/* What takes the rest of the RDATA. */
static enum status check_rest(struct wreader *r, char field, const char **why)
{
	if (field == 'S') {
		return check_strings(r, why);
	}
	struct bytes rest = wreader_bytes(r, wreader_left(r));
	switch (field) {
	case 'x':
	case 'b':
	case 'Q':
		return rest.len > 0 ? ST_OK : fail(why, "expected data");
	case 'B':
		if (rest.len == 0) {
			return fail(why, "expected an RR type");
		}
		return bitmap_check(rest, why);
	case 'o':
		return bitmap_check(rest, why);
	case 'V':
		return svcb_check(rest, why);
	default: /* 'q' */
		return ST_OK;
	}
}

static void skip_fixed(struct wreader *r, char field)
{
	static const uint8_t sizes[128] = {
		['1'] = 1, ['2'] = 2, ['4'] = 4, ['t'] = 4,  ['T'] = 4, ['y'] = 2, ['g'] = 1,
		['h'] = 1, ['C'] = 2, ['a'] = 4, ['A'] = 16, ['l'] = 8, ['e'] = 6, ['E'] = 8,
	};
	wreader_bytes(r, sizes[(unsigned char)field]);
}

static enum status check_field(struct wreader *r, char field, const char **why)
{
	switch (field) {
	case 'N':
	case 'n':
	case 'p':
		wreader_name(r);
		return r->err == ST_OK ? ST_OK : fail(why, "expected a domain name");
	case 's':
	case 'X':
		wreader_str8(r);
		break;
	case 'O':
		if (wreader_left(r) > 0) {
			wreader_str8(r);
		}
		break;
	case 'H':
		if (wreader_str8(r).len == 0) {
			return fail(why, "expected a hash");
		}
		break;
	case 'c':
		if (!caa_tag_valid(wreader_str8(r))) {
			return fail(why, "expected a property tag of letters and digits");
		}
		break;
	case 'S':
	case 'x':
	case 'b':
	case 'q':
	case 'Q':
	case 'B':
	case 'o':
	case 'V':
		return check_rest(r, field, why);
	default:
		skip_fixed(r, field);
		break;
	}
	return r->err == ST_OK ? ST_OK : fail(why, "expected more octets of RDATA");
}

/* Digests whose length the registry fixes: DS (RFC 4034 5.1.4, 4509, 6605), SSHFP (RFC 4255, 6594),
 * ZONEMD (RFC 8976 2.2). */
static enum status check_digest(uint16_t type, struct bytes rdata, const char **why)
{
	static const uint8_t ds[] = {0, 20, 32, 32, 48};
	static const uint8_t sshfp[] = {0, 20, 32};
	static const uint8_t zonemd[] = {0, 48, 64};
	const uint8_t *p = rdata.data;
	size_t want = 0;
	size_t have = 0;
	switch (type) {
	case RR_CDS:
		/* The deletion form (RFC 8078 4): 0 0 0 00. */
		if (p[2] == 0 && p[3] == 0) {
			return rdata.len == 5 && p[4] == 0 ? ST_OK : fail(why, "expected 0 0 0 00");
		}
		/* fall through */
	case RR_DS:
		want = p[3] < sizeof(ds) ? ds[p[3]] : 0;
		have = rdata.len - 4;
		break;
	case RR_SSHFP:
		want = p[1] < sizeof(sshfp) ? sshfp[p[1]] : 0;
		have = rdata.len - 2;
		break;
	case RR_ZONEMD:
		want = p[5] < sizeof(zonemd) ? zonemd[p[5]] : 0;
		have = rdata.len - 6;
		if (have < 12) {
			return fail(why, "expected a digest of at least 12 octets");
		}
		break;
	default:
		return ST_OK;
	}
	if (want != 0 && want != have) {
		return fail(why, want == 20   ? "expected a digest of 20 octets"
				 : want == 32 ? "expected a digest of 32 octets"
				 : want == 48 ? "expected a digest of 48 octets"
					      : "expected a digest of 64 octets");
	}
	return ST_OK;
}

enum status rdata_check(uint16_t type, struct bytes rdata, const char **why)
{
	const char *fields = rdata_type_get(type)->fields;
	if (rdata.len > RDATA_MAX) {
		return fail(why, "expected at most 65535 octets of RDATA");
	}
	if (fields == NULL) {
		return rdata_ldns_check(type, rdata, why);
	}
	struct wreader r;
	wreader_init(&r, rdata.data, rdata.len);
	for (; *fields != '\0'; fields++) {
		enum status st = check_field(&r, *fields, why);
		if (st != ST_OK) {
			return st;
		}
	}
	if (wreader_left(&r) > 0) {
		return fail(why, "expected the end of the RDATA");
	}
	return check_digest(type, rdata, why);
}

static void lower(uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] >= 'A' && data[i] <= 'Z') {
			data[i] |= 0x20;
		}
	}
}

/* Octets of the field of 'shape' at p; 'left' octets follow. */
static size_t shape_field_len(char code, const uint8_t *p, size_t left)
{
	size_t len;
	switch (code) {
	case 'N':
	case 'n':
	case 'p':
		len = name_len(p);
		break;
	case 's':
		len = left > 0 ? 1u + p[0] : 0;
		break;
	case 'A':
		len = 16;
		break;
	case '*':
		len = left;
		break;
	default:
		len = (size_t)(code - '0');
		break;
	}
	return len < left ? len : left;
}

static bool shape_has_lower(const char *shape)
{
	return strpbrk(shape, "Nn") != NULL;
}

void rdata_canonical(uint16_t type, struct bytes rdata, uint8_t *out)
{
	const char *shape = rdata_shape(type);
	if (rdata.len > 0) {
		memmove(out, rdata.data, rdata.len);
	}
	if (!shape_has_lower(shape)) {
		return;
	}
	size_t pos = 0;
	for (; *shape != '\0' && pos < rdata.len; shape++) {
		size_t len = shape_field_len(*shape, out + pos, rdata.len - pos);
		if (*shape == 'N' || *shape == 'n') {
			/* Length octets are below 64 and so not letters. */
			lower(out + pos, len);
		}
		pos += len;
	}
}

static int compare_octets(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t len = a_len < b_len ? a_len : b_len;
	int diff = len == 0 ? 0 : memcmp(a, b, len);
	if (diff != 0) {
		return diff;
	}
	return a_len < b_len ? -1 : a_len > b_len;
}

static int compare_lower(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t len = a_len < b_len ? a_len : b_len;
	for (size_t i = 0; i < len; i++) {
		uint8_t x = a[i] >= 'A' && a[i] <= 'Z' ? a[i] | 0x20 : a[i];
		uint8_t y = b[i] >= 'A' && b[i] <= 'Z' ? b[i] | 0x20 : b[i];
		if (x != y) {
			return x < y ? -1 : 1;
		}
	}
	return a_len < b_len ? -1 : a_len > b_len;
}

int rdata_compare(uint16_t type, struct bytes a, struct bytes b)
{
	const char *shape = rdata_shape(type);
	if (!shape_has_lower(shape)) {
		return compare_octets(a.data, a.len, b.data, b.len);
	}
	/* Up to the first difference the fields have the same lengths, so both sides move alike. */
	size_t i = 0;
	size_t j = 0;
	for (; *shape != '\0' && i < a.len && j < b.len; shape++) {
		size_t a_len = shape_field_len(*shape, a.data + i, a.len - i);
		size_t b_len = shape_field_len(*shape, b.data + j, b.len - j);
		bool name = *shape == 'N' || *shape == 'n';
		int diff = name ? compare_lower(a.data + i, a_len, b.data + j, b_len)
				: compare_octets(a.data + i, a_len, b.data + j, b_len);
		if (diff != 0) {
			return diff;
		}
		i += a_len;
		j += b_len;
	}
	return compare_octets(a.data + i, a.len - i, b.data + j, b.len - j);
}

size_t bitmap_encode(const uint16_t *types, size_t count, uint8_t *out)
{
	uint8_t *p = out;
	for (size_t i = 0; i < count;) {
		uint8_t window = (uint8_t)(types[i] >> 8);
		p[0] = window;
		memset(p + 2, 0, 32);
		uint8_t last = 0;
		for (; i < count && types[i] >> 8 == window; i++) {
			last = (uint8_t)(types[i] & 0xff);
			p[2 + last / 8] |= (uint8_t)(0x80 >> last % 8);
		}
		p[1] = (uint8_t)(last / 8 + 1);
		p += 2 + p[1];
	}
	return (size_t)(p - out);
}

bool bitmap_has(struct bytes bitmap, uint16_t type)
{
	const uint8_t *p = bitmap.data;
	const uint8_t *end = p + bitmap.len;
	uint8_t low = (uint8_t)(type & 0xff);
	while (end - p >= 2 && end - p >= 2 + p[1]) {
		if (p[0] == type >> 8) {
			return low / 8 < p[1] && (p[2 + low / 8] & 0x80 >> low % 8) != 0;
		}
		p += 2 + p[1];
	}
	return false;
}

enum status rrsig_parse(struct bytes rdata, struct rrsig *out)
{
	struct wreader r;
	struct rrsig sig;
	wreader_init(&r, rdata.data, rdata.len);
	sig.type_covered = wreader_u16(&r);
	sig.algorithm = wreader_u8(&r);
	sig.labels = wreader_u8(&r);
	sig.original_ttl = wreader_u32(&r);
	sig.expiration = wreader_u32(&r);
	sig.inception = wreader_u32(&r);
	sig.key_tag = wreader_u16(&r);
	sig.signer = wreader_name(&r).data;
	sig.signature = wreader_bytes(&r, wreader_left(&r));
	if (r.err != ST_OK || sig.signature.len == 0) {
		return ST_EPARSE;
	}
	*out = sig;
	return ST_OK;
}

enum status soa_parse(struct bytes rdata, struct soa *out)
{
	struct wreader r;
	struct soa soa;
	wreader_init(&r, rdata.data, rdata.len);
	soa.mname = wreader_name(&r).data;
	soa.rname = wreader_name(&r).data;
	soa.serial = wreader_u32(&r);
	soa.refresh = wreader_u32(&r);
	soa.retry = wreader_u32(&r);
	soa.expire = wreader_u32(&r);
	soa.minimum = wreader_u32(&r);
	if (r.err != ST_OK || wreader_left(&r) > 0) {
		return ST_EPARSE;
	}
	*out = soa;
	return ST_OK;
}

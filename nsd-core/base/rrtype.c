#include "nsd-core/base/rrtype.h"

#include <stdio.h>
#include <string.h>

#define MNEMONIC_MAX 10

struct mnemonic {
	char text[MNEMONIC_MAX + 2];
	uint16_t number;
};

/* IANA "Resource Record (RR) TYPEs", in the order of strcmp() (a test holds it). */
#define RRTYPES(X)                                                                                 \
	X("A", 1)                                                                                  \
	X("A6", 38)                                                                                \
	X("AAAA", 28)                                                                              \
	X("AFSDB", 18)                                                                             \
	X("AMTRELAY", 260)                                                                         \
	X("ANY", 255)                                                                              \
	X("APL", 42)                                                                               \
	X("ATMA", 34)                                                                              \
	X("AVC", 258)                                                                              \
	X("AXFR", 252)                                                                             \
	X("BRID", 68)                                                                              \
	X("CAA", 257)                                                                              \
	X("CDNSKEY", 60)                                                                           \
	X("CDS", 59)                                                                               \
	X("CERT", 37)                                                                              \
	X("CLA", 263)                                                                              \
	X("CNAME", 5)                                                                              \
	X("CSYNC", 62)                                                                             \
	X("DHCID", 49)                                                                             \
	X("DLV", 32769)                                                                            \
	X("DNAME", 39)                                                                             \
	X("DNSKEY", 48)                                                                            \
	X("DOA", 259)                                                                              \
	X("DS", 43)                                                                                \
	X("DSYNC", 66)                                                                             \
	X("EID", 31)                                                                               \
	X("EUI48", 108)                                                                            \
	X("EUI64", 109)                                                                            \
	X("GID", 102)                                                                              \
	X("GPOS", 27)                                                                              \
	X("HHIT", 67)                                                                              \
	X("HINFO", 13)                                                                             \
	X("HIP", 55)                                                                               \
	X("HTTPS", 65)                                                                             \
	X("IPN", 264)                                                                              \
	X("IPSECKEY", 45)                                                                          \
	X("ISDN", 20)                                                                              \
	X("IXFR", 251)                                                                             \
	X("KEY", 25)                                                                               \
	X("KX", 36)                                                                                \
	X("L32", 105)                                                                              \
	X("L64", 106)                                                                              \
	X("LOC", 29)                                                                               \
	X("LP", 107)                                                                               \
	X("MAILA", 254)                                                                            \
	X("MAILB", 253)                                                                            \
	X("MB", 7)                                                                                 \
	X("MD", 3)                                                                                 \
	X("MF", 4)                                                                                 \
	X("MG", 8)                                                                                 \
	X("MINFO", 14)                                                                             \
	X("MR", 9)                                                                                 \
	X("MX", 15)                                                                                \
	X("NAPTR", 35)                                                                             \
	X("NID", 104)                                                                              \
	X("NIMLOC", 32)                                                                            \
	X("NINFO", 56)                                                                             \
	X("NS", 2)                                                                                 \
	X("NSAP", 22)                                                                              \
	X("NSAP-PTR", 23)                                                                          \
	X("NSEC", 47)                                                                              \
	X("NSEC3", 50)                                                                             \
	X("NSEC3PARAM", 51)                                                                        \
	X("NULL", 10)                                                                              \
	X("NXNAME", 128)                                                                           \
	X("NXT", 30)                                                                               \
	X("OPENPGPKEY", 61)                                                                        \
	X("OPT", 41)                                                                               \
	X("PTR", 12)                                                                               \
	X("PX", 26)                                                                                \
	X("RESINFO", 261)                                                                          \
	X("RKEY", 57)                                                                              \
	X("RP", 17)                                                                                \
	X("RRSIG", 46)                                                                             \
	X("RT", 21)                                                                                \
	X("SIG", 24)                                                                               \
	X("SINK", 40)                                                                              \
	X("SMIMEA", 53)                                                                            \
	X("SOA", 6)                                                                                \
	X("SPF", 99)                                                                               \
	X("SRV", 33)                                                                               \
	X("SSHFP", 44)                                                                             \
	X("SVCB", 64)                                                                              \
	X("TA", 32768)                                                                             \
	X("TALINK", 58)                                                                            \
	X("TKEY", 249)                                                                             \
	X("TLSA", 52)                                                                              \
	X("TSIG", 250)                                                                             \
	X("TXT", 16)                                                                               \
	X("UID", 101)                                                                              \
	X("UINFO", 100)                                                                            \
	X("UNSPEC", 103)                                                                           \
	X("URI", 256)                                                                              \
	X("WALLET", 262)                                                                           \
	X("WKS", 11)                                                                               \
	X("X25", 19)                                                                               \
	X("ZONEMD", 63)

#define ROW_BY_TEXT(text, number) {text, number},

static const struct mnemonic types_by_text[] = {RRTYPES(ROW_BY_TEXT)};

#define TYPE_COUNT (sizeof(types_by_text) / sizeof(types_by_text[0]))

/* A hash of the numbers without collisions, none for 1 to 508; the compiler refuses two in one
 * place
 * (-Woverride-init). TA and DLV fall on 192 and 193. */
#define TYPE_SLOTS		    509
#define ROW_BY_NUMBER(text, number) [(number) % TYPE_SLOTS] = {text, number},

static const struct mnemonic types_by_number[TYPE_SLOTS] = {RRTYPES(ROW_BY_NUMBER)};

static const struct mnemonic classes[] = {
	{"IN", CLASS_IN}, {"CH", CLASS_CH}, {"HS", 4}, {"NONE", CLASS_NONE}, {"ANY", CLASS_ANY},
};

/* Upper case into out[MNEMONIC_MAX + 2]; false where it is too long for a mnemonic. */
static bool upper_copy(const char *text, size_t len, char *out)
{
	if (len == 0 || len > MNEMONIC_MAX) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		out[i] = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
	}
	out[len] = '\0';
	/* A NUL inside must not pass for the end of a mnemonic. */
	return memchr(out, '\0', len) == NULL;
}

/* "TYPEnnn" and "CLASSnnn" (RFC 3597 5), 'upper' being in upper case. */
static enum status number_from_text(const char *upper, const char *prefix, uint16_t *number)
{
	size_t skip = strlen(prefix);
	uint32_t value = 0;

	if (strncmp(upper, prefix, skip) != 0 || upper[skip] == '\0') {
		return ST_ENOENT;
	}
	for (const char *p = upper + skip; *p != '\0'; p++) {
		if (*p < '0' || *p > '9') {
			return ST_ENOENT;
		}
		value = value * 10 + (uint32_t)(*p - '0');
		if (value > UINT16_MAX) {
			return ST_ENOENT;
		}
	}
	*number = (uint16_t)value;
	return ST_OK;
}

/* Up to eight letters of a mnemonic, the first in the low bits. */
#define PACK1(a)	     ((uint64_t)(a))
#define PACK2(a, b)	     (PACK1(a) | (uint64_t)(b) << 8)
#define PACK3(a, b, c)	     (PACK2(a, b) | (uint64_t)(c) << 16)
#define PACK4(a, b, c, d)    (PACK3(a, b, c) | (uint64_t)(d) << 24)
#define PACK5(a, b, c, d, e) (PACK4(a, b, c, d) | (uint64_t)(e) << 32)

/* Nearly all records of nearly all zones are of these; 0: of another, or of none. */
static uint16_t common_type(const char *text, size_t len)
{
	uint64_t packed = 0;

	for (size_t i = 0; i < len && i < 6; i++) {
		char c = text[i];
		packed |= (uint64_t)(unsigned char)(c >= 'a' && c <= 'z' ? c & ~0x20 : c)
			  << (8 * i);
	}
	switch (packed) {
	case PACK1('A'):
		return RR_A;
	case PACK2('N', 'S'):
		return RR_NS;
	case PACK2('D', 'S'):
		return RR_DS;
	case PACK2('M', 'X'):
		return RR_MX;
	case PACK3('T', 'X', 'T'):
		return RR_TXT;
	case PACK3('S', 'R', 'V'):
		return RR_SRV;
	case PACK3('P', 'T', 'R'):
		return RR_PTR;
	case PACK4('A', 'A', 'A', 'A'):
		return RR_AAAA;
	case PACK4('N', 'S', 'E', 'C'):
		return RR_NSEC;
	case PACK5('C', 'N', 'A', 'M', 'E'):
		return RR_CNAME;
	case PACK5('N', 'S', 'E', 'C', '3'):
		return RR_NSEC3;
	case PACK5('R', 'R', 'S', 'I', 'G'):
		return RR_RRSIG;
	default:
		return 0;
	}
}

enum status rrtype_from_text(const char *text, size_t len, uint16_t *type)
{
	char upper[MNEMONIC_MAX + 2];
	size_t low = 0;
	size_t high = TYPE_COUNT;
	uint16_t common = len <= 5 ? common_type(text, len) : 0;

	/* A NUL in the text would pass for no letter. */
	if (common != 0 && memchr(text, '\0', len) == NULL) {
		*type = common;
		return ST_OK;
	}
	if (!upper_copy(text, len, upper)) {
		return ST_ENOENT;
	}
	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = strcmp(upper, types_by_text[mid].text);
		if (order == 0) {
			*type = types_by_text[mid].number;
			return ST_OK;
		}
		if (order < 0) {
			high = mid;
		} else {
			low = mid + 1;
		}
	}
	return number_from_text(upper, "TYPE", type);
}

char *rrtype_to_text(uint16_t type, char *buf)
{
	const struct mnemonic *m = &types_by_number[type % TYPE_SLOTS];

	if (m->number == type && m->text[0] != '\0') {
		memcpy(buf, m->text, sizeof(m->text));
	} else {
		snprintf(buf, RRTYPE_TEXT_MAX, "TYPE%u", type);
	}
	return buf;
}

enum status rrclass_from_text(const char *text, size_t len, uint16_t *rrclass)
{
	char upper[MNEMONIC_MAX + 2];

	if (!upper_copy(text, len, upper)) {
		return ST_ENOENT;
	}
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (strcmp(upper, classes[i].text) == 0) {
			*rrclass = classes[i].number;
			return ST_OK;
		}
	}
	return number_from_text(upper, "CLASS", rrclass);
}

bool rrtype_is_meta(uint16_t type)
{
	return type == 0 || type == RR_OPT || (type >= 128 && type <= 255);
}

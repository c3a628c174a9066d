/* Mnemonics of RR types and classes (the registry of RFC 6895; TYPEnnn, CLASSnnn of RFC 3597). */
#pragma once

#include "nsd-core/base/status.h"

#include <stdbool.h>

enum rrtype {
	RR_A = 1,
	RR_NS = 2,
	RR_CNAME = 5,
	RR_SOA = 6,
	RR_PTR = 12,
	RR_HINFO = 13,
	RR_MX = 15,
	RR_TXT = 16,
	RR_SIG = 24,
	RR_KEY = 25,
	RR_AAAA = 28,
	RR_NXT = 30,
	RR_SRV = 33,
	RR_NAPTR = 35,
	RR_DNAME = 39,
	RR_OPT = 41,
	RR_DS = 43,
	RR_SSHFP = 44,
	RR_RRSIG = 46,
	RR_NSEC = 47,
	RR_DNSKEY = 48,
	RR_NSEC3 = 50,
	RR_NSEC3PARAM = 51,
	RR_TLSA = 52,
	RR_CDS = 59,
	RR_CDNSKEY = 60,
	RR_ZONEMD = 63,
	RR_SVCB = 64,
	RR_HTTPS = 65,
	RR_NXNAME = 128,
	RR_TSIG = 250,
	RR_IXFR = 251,
	RR_AXFR = 252,
	RR_ANY = 255,
	RR_CAA = 257,
};

enum rrclass {
	CLASS_IN = 1,
	CLASS_CH = 3,
	CLASS_NONE = 254,
	CLASS_ANY = 255,
};

#define RRTYPE_TEXT_MAX 16

/* Mnemonic (any case) or TYPEnnn to number; ST_ENOENT if neither. */
enum status rrtype_from_text(const char *text, size_t len, uint16_t *type) MUST_USE;
/* Mnemonic, or TYPEnnn for what has none; buf has RRTYPE_TEXT_MAX. Returns buf. */
char *rrtype_to_text(uint16_t type, char *buf);
enum status rrclass_from_text(const char *text, size_t len, uint16_t *rrclass) MUST_USE;
/* Types that may not stand in a zone: 0, OPT, TSIG, TKEY, and all of 128-255 (RFC 6895 3.1). */
bool rrtype_is_meta(uint16_t type);

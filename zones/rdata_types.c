#include "zones/rdata_types.h"

#include "nsd-core/base/text.h"

/* Shapes: RFC 1035 3.3 (compressible), RFC 4034 6.2 with RFC 6840 5.1 (lower case in canonical
 * form); types younger than that list keep their names' case. */
static const struct rdata_type low_types[] = {
	[RR_A] = {"4", "a"},
	[RR_NS] = {"N", "N"},
	[3 /* MD */] = {"N", "N"},
	[4 /* MF */] = {"N", "N"},
	[RR_CNAME] = {"N", "N"},
	[RR_SOA] = {"NN44444", "NN4tttt"},
	[7 /* MB */] = {"N", "N"},
	[8 /* MG */] = {"N", "N"},
	[9 /* MR */] = {"N", "N"},
	[RR_PTR] = {"N", "N"},
	[RR_HINFO] = {"ss", "ss"},
	[14 /* MINFO */] = {"NN", "NN"},
	[RR_MX] = {"2N", "2N"},
	[RR_TXT] = {"*", "S"},
	[17 /* RP */] = {"nn", "nn"},
	[18 /* AFSDB */] = {"2n", "2n"},
	[19 /* X25 */] = {"s", "s"},
	[20 /* ISDN */] = {"s*", "sO"},
	[21 /* RT */] = {"2n", "2n"},
	[23 /* NSAP-PTR */] = {"p", "p"},
	[RR_SIG] = {"2114442n*", "yg1tTT2nb"},
	[RR_KEY] = {"211*", "21gb"},
	[26 /* PX */] = {"2nn", "2nn"},
	[27 /* GPOS */] = {"sss", "sss"},
	[RR_AAAA] = {"A", "A"},
	[RR_NXT] = {"n*", NULL},
	[RR_SRV] = {"222n", "222n"},
	[RR_NAPTR] = {"22sssn", "22sssn"},
	[36 /* KX */] = {"2n", "2n"},
	[37 /* CERT */] = {"221*", "C2gb"},
	[RR_DNAME] = {"n", "n"},
	[RR_DS] = {"211*", "2ghx"},
	[RR_SSHFP] = {"11*", "11x"},
	[RR_RRSIG] = {"2114442n*", "yg1tTT2nb"},
	[RR_NSEC] = {"p*", "pB"},
	[RR_DNSKEY] = {"211*", "21gb"},
	[49 /* DHCID */] = {"*", "b"},
	[RR_NSEC3] = {"112ss*", "112XHo"},
	[RR_NSEC3PARAM] = {"112s", "112X"},
	[RR_TLSA] = {"111*", "111x"},
	[53 /* SMIMEA */] = {"111*", "111x"},
	[56 /* NINFO */] = {"*", "S"},
	[57 /* RKEY */] = {"211*", "21gb"},
	[58 /* TALINK */] = {"pp", "pp"},
	[RR_CDS] = {"211*", "2ghx"},
	[RR_CDNSKEY] = {"211*", "21gb"},
	[61 /* OPENPGPKEY */] = {"*", "b"},
	[62 /* CSYNC */] = {"42*", "42o"},
	[RR_ZONEMD] = {"411*", "411x"},
	[RR_SVCB] = {"2p*", "2pV"},
	[RR_HTTPS] = {"2p*", "2pV"},
	[99 /* SPF */] = {"*", "S"},
	[104 /* NID */] = {"2*", "2l"},
	[105 /* L32 */] = {"24", "2a"},
	[106 /* L64 */] = {"2*", "2l"},
	[107 /* LP */] = {"2p", "2p"},
	[108 /* EUI48 */] = {"6", "e"},
	[109 /* EUI64 */] = {"*", "E"},
};

#define HIGH_FIRST 256

static const struct rdata_type high_types[] = {
	[256 /* URI */ - HIGH_FIRST] = {"22*", "22Q"},
	[RR_CAA - HIGH_FIRST] = {"1s*", "1cq"},
	[258 /* AVC */ - HIGH_FIRST] = {"*", "S"},
	[261 /* RESINFO */ - HIGH_FIRST] = {"*", "S"},
	[262 /* WALLET */ - HIGH_FIRST] = {"*", "S"},
};

#define TYPE_TA	 32768
#define TYPE_DLV 32769

static const struct rdata_type ds_like = {"211*", "2ghx"};
static const struct rdata_type unknown_type = {NULL, NULL};

const struct rdata_type *rdata_type_get(uint16_t type)
{
	if (type < sizeof(low_types) / sizeof(low_types[0])) {
		return &low_types[type];
	}
	if (type >= HIGH_FIRST &&
	    type - HIGH_FIRST < (int)(sizeof(high_types) / sizeof(high_types[0]))) {
		return &high_types[type - HIGH_FIRST];
	}
	return type == TYPE_TA || type == TYPE_DLV ? &ds_like : &unknown_type;
}

const char *rdata_shape(uint16_t type)
{
	const char *shape = rdata_type_get(type)->shape;
	return shape == NULL ? "*" : shape;
}

struct mnemonic {
	const char *text;
	uint16_t value;
};

/* IANA: DNS Security Algorithm Numbers. */
static const struct mnemonic algorithms[] = {
	{"ECDSAP256SHA256", 13},
	{"ECDSAP384SHA384", 14},
	{"ED25519", 15},
	{"ED448", 16},
	{"RSASHA256", 8},
	{"RSASHA512", 10},
	{"RSASHA1", 5},
	{"RSASHA1-NSEC3-SHA1", 7},
	{"NSEC3RSASHA1", 7},
	{"DSA-NSEC3-SHA1", 6},
	{"NSEC3DSA", 6},
	{"RSAMD5", 1},
	{"DH", 2},
	{"DSA", 3},
	{"ECC-GOST", 12},
	{"ECCGOST", 12},
	{"INDIRECT", 252},
	{"PRIVATEDNS", 253},
	{"PRIVATEOID", 254},
	{NULL, 0},
};

/* IANA: Delegation Signer (DS) Resource Record Digest Algorithms. */
static const struct mnemonic digests[] = {
	{"SHA-1", 1}, {"SHA1", 1},    {"SHA-256", 2}, {"SHA256", 2},
	{"GOST", 3},  {"SHA-384", 4}, {"SHA384", 4},  {NULL, 0},
};

/* RFC 4398 2.1. */
static const struct mnemonic certificates[] = {
	{"PKIX", 1},   {"SPKI", 2},    {"PGP", 3},   {"IPKIX", 4}, {"ISPKI", 5}, {"IPGP", 6},
	{"ACPKIX", 7}, {"IACPKIX", 8}, {"URI", 253}, {"OID", 254}, {NULL, 0},
};

enum status rdata_mnemonic(char field, const char *text, size_t len, uint32_t max, uint32_t *out)
{
	const struct mnemonic *m = field == 'g'	  ? algorithms
				   : field == 'h' ? digests
						  : certificates;
	if (len > 0 && text[0] >= '0' && text[0] <= '9') {
		return text_to_u32(text, len, max, out);
	}
	for (; m->text != NULL; m++) {
		if (text_equal_nocase(text, len, m->text)) {
			*out = m->value;
			return ST_OK;
		}
	}
	return ST_EPARSE;
}

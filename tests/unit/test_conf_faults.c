/* The configuration: what is said of what is wrong. */
#include "nsd-core/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Reads text without looking at files; findings as "LINE:COLUMN:TEXT\n" each, in order. */
static struct conf *read_text(const char *text, char *found, size_t room)
{
	struct conf *untouched = (struct conf *)(uintptr_t)1;
	struct conf *c = untouched;
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read_mem("/etc/signet/t.yaml", text, strlen(text), false, &c, &d);
	size_t used = 0;
	found[0] = '\0';
	for (size_t i = 0; i < d.count; i++) {
		used += (size_t)snprintf(found + used, room - used, "%u:%u:%s%s\n", d.items[i].line,
					 d.items[i].column,
					 d.items[i].level == DIAG_WARNING ? "warning: " : "",
					 d.items[i].text);
		assert_true(used < room);
		assert_string_equal(d.items[i].file, "/etc/signet/t.yaml");
	}
	assert_true((st == ST_OK) == (d.errors == 0));
	assert_true((st == ST_OK) == (c != untouched));
	diags_fini(&d);
	return st == ST_OK ? c : NULL;
}

#define ZONE   "zones: [ { name: a.test, file: a } ]\n"
#define STORE  "keystores:\n  - { name: k, type: file }\n"
#define POLICY "policies:\n  - name: p\n    csk: { keystore: k }\n"

struct bad {
	const char *name;
	const char *text;
	const char *found; /* all of it */
};

static const struct bad bad[] = {
	/* the document */
	{"empty", "", "1:1:the file is empty\n"},
	{"comment only", "# nothing\n", "1:1:the file is empty\n"},
	{"scalar", "hello\n", "1:1:expected a map of server, keystores, ...\n"},
	{"list", "- a\n", "1:1:expected a map of server, keystores, ...\n"},
	{"not yaml", "server: [ a\nzones: b\n",
	 "2:6:did not find expected ',' or ']' while parsing a flow sequence\n"},
	{"tab", "server:\n\tlisten: x\n",
	 "2:1:found character that cannot start any token while scanning for the next token\n"},
	{"not utf-8", "zones: \xff\n", "1:8:invalid leading UTF-8 octet\n"},
	{"anchor", "server: &a { workers: 1 }\n", "1:9:anchors (&name) are not supported\n"},
	{"alias", "zones: *a\n", "1:8:aliases (*name) are not supported\n"},
	{"tag", "zones: !!seq []\n", "1:8:tags (!name) are not supported\n"},
	{"two documents", ZONE "---\n" ZONE, "2:1:one document only\n"},
	{"map as a key", "{ { a: b }: c }\n", "1:3:a key must be a plain word\n"},
	{"deep", "zones: [[[[[[[[[[]]]]]]]]]]\n", "1:15:nested too deeply\n"},
	{"NUL", "zones: \"a\\0b\"\n", "1:8:a NUL character in a value\n"},
	{"columns are octets", "server: { identity: \"\xc3\xa9\xc3\xa9\", workers: x }\n" ZONE,
	 "1:38:'workers': expected a number from 0 to 256, found 'x'\n"},

	/* keys */
	{"unknown key", "sever: {}\n" ZONE, "1:1:unknown key 'sever'; did you mean 'server'?\n"},
	{"unknown key, none near", "flux: {}\n" ZONE, "1:1:unknown key 'flux'\n"},
	{"unknown in server", "server:\n  stat: /x\n" ZONE,
	 "2:3:unknown key 'stat' in server; did you mean 'state'?\n"},
	{"swapped letters", "server:\n  ndis: x\n" ZONE, "2:3:unknown key 'ndis' in server\n"},
	{"duplicate", "server:\n  nsid: a\n  workers: 1\n  nsid: b\n" ZONE,
	 "4:3:'nsid' is given twice, first in line 2\n"},
	{"duplicate map", ZONE "zones:\n  - { name: b.test, file: b }\n",
	 "2:1:'zones' is given twice, first in line 1\n"},
	{"no value", "server:\n  nsid:\n" ZONE, "2:3:'nsid' has no value\n"},
	{"null", "server:\n  nsid: ~\n" ZONE, "2:3:'nsid' has no value\n"},
	{"section without value", "server:\n" ZONE, "1:1:'server' has no value\n"},
	{"list without value", "zones:\n", "1:1:'zones' has no value\n"},
	{"later", "server: { http: 127.0.0.1@9153, rate-limit: 0 }\ndkim: []\n" ZONE,
	 "1:11:'http' is not supported by this version\n"
	 "1:33:'rate-limit' is not supported by this version\n"
	 "2:1:'dkim' is not supported by this version\n"},
	{"later in zones", "zones:\n  - name: a.test\n    file: a\n    primaries: [ b ]\n",
	 "4:5:'primaries' is not supported by this version\n"},

	/* values */
	{"map for a list", "zones: { name: a.test }\n",
	 "1:8:'zones': expected a list, found a map\n"},
	{"scalar for a map", "server: yes\n" ZONE, "1:9:'server': expected a map, found 'yes'\n"},
	{"scalar in a list of maps", "zones: [ a.test ]\n",
	 "1:10:'zones': expected a map, found 'a.test'\n"},
	{"list for text", "server: { nsid: [ a ] }\n" ZONE,
	 "1:17:'nsid': expected text, found a list\n"},
	{"text too long",
	 "keystores: [ { name: k, type: pkcs11, module: /m, token: "
	 "123456789012345678901234567890123 } ]\n" ZONE,
	 "1:58:'token': too long\n"},
	{"empty text", "server: { nsid: \"\" }\n" ZONE, "1:17:'nsid': empty\n"},
	{"number", "server: { workers: many }\n" ZONE,
	 "1:20:'workers': expected a number from 0 to 256, found 'many'\n"},
	{"number too large", "server: { workers: 257 }\n" ZONE,
	 "1:20:'workers': expected a number from 0 to 256, found '257'\n"},
	{"number in quotes", "server: { workers: \"1\" }\n" ZONE,
	 "1:20:'workers': expected a number from 0 to 256, found '1'\n"},
	{"negative", "server: { udp-size: -1 }\n" ZONE,
	 "1:21:'udp-size': expected a number from 512 to 4096, found '-1'\n"},
	{"bool", "zones: [ { name: a.test, file: a, watch: yes } ]\n",
	 "1:42:'watch': expected true or false, found 'yes'\n"},
	{"duration", "server: { tcp-idle-timeout: 10 }\n" ZONE,
	 "1:29:'tcp-idle-timeout': expected a duration such as 90s, 5m, 1h, 14d or 1y, found "
	 "'10'\n"},
	{"duration's unit", "server: { tcp-idle-timeout: 10x }\n" ZONE,
	 "1:29:'tcp-idle-timeout': expected a duration such as 90s, 5m, 1h, 14d or 1y, found "
	 "'10x'\n"},
	{"sum of durations", "server: { tcp-idle-timeout: 1m30s }\n" ZONE,
	 "1:29:'tcp-idle-timeout': expected a duration such as 90s, 5m, 1h, 14d or 1y, found "
	 "'1m30s'\n"},
	{"duration out of range", "server: { tcp-idle-timeout: 2h }\n" ZONE,
	 "1:29:'tcp-idle-timeout': expected a duration of 1 to 3600 seconds, found '2h'\n"},
	{"size", "server: { udp-buffer: 4X }\n" ZONE,
	 "1:23:'udp-buffer': expected a size such as 64K, 16M or 1G, found '4X'\n"},
	{"size out of range", "server: { udp-buffer: 9G }\n" ZONE,
	 "1:23:'udp-buffer': expected a size such as 64K, 16M or 1G, 65536 to 1073741824 octets, "
	 "found '9G'\n"},
	{"addresses",
	 "server:\n  listen: [ localhost, 1.2.3@53, 192.0.2.1@0, \"::1@65536\", "
	 "192.0.2.1@53x, \"@53\" ]\n" ZONE,
	 "2:13:'listen': expected ADDRESS or ADDRESS@PORT, found 'localhost'\n"
	 "2:24:'listen': expected ADDRESS or ADDRESS@PORT, found '1.2.3@53'\n"
	 "2:34:'listen': expected ADDRESS or ADDRESS@PORT, found '192.0.2.1@0'\n"
	 "2:47:'listen': expected ADDRESS or ADDRESS@PORT, found '::1@65536'\n"
	 "2:60:'listen': expected ADDRESS or ADDRESS@PORT, found '192.0.2.1@53x'\n"
	 "2:75:'listen': expected ADDRESS or ADDRESS@PORT, found '@53'\n"},
	{"address twice", "server: { listen: [ 192.0.2.1, 192.0.2.1@53 ] }\n" ZONE,
	 "1:32:'listen': 192.0.2.1@53 is given twice\n"},
	{"one address, not a list", "server: { listen: 192.0.2.1 }\n" ZONE,
	 "1:19:'listen': expected a list of 1 to 64 addresses, found '192.0.2.1'\n"},
	{"no address", "server: { listen: [] }\n" ZONE,
	 "1:19:'listen': expected a list of 1 to 64 addresses, found a list\n"},
	{"socket path too long",
	 "server: { control: "
	 "/123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
	 "123456789/123456789/123456789 }\n" ZONE,
	 "1:20:'control': "
	 "/123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
	 "123456789/123456789/123456789: longer than a socket's path may be (107 octets)\n"},

	/* keystores */
	{"keystore without anything", "keystores: [ {} ]\n" ZONE,
	 "1:14:'name' is missing\n1:14:'type' is missing\n"},
	{"type", "keystores: [ { name: k, type: pkcs12 } ]\n" ZONE,
	 "1:31:'type': expected pkcs11, file or aws-kms, found 'pkcs12'\n"},
	{"a token in the cloud", "keystores: [ { name: k, type: aws-kms, token: t } ]\n" ZONE,
	 "1:40:'token' is for keystores of type pkcs11\n"},
	{"a region of a file", "keystores: [ { name: k, type: file, region: us-east-1 } ]\n" ZONE,
	 "1:37:'region' is for keystores of type aws-kms\n"},
	{"no rate", "keystores: [ { name: k, type: aws-kms, rate: 0 } ]\n" ZONE,
	 "1:46:'rate': expected a number from 1 to 100000, found '0'\n"},
	{"pkcs11 without module", "keystores: [ { name: k, type: pkcs11, slot: 0 } ]\n" ZONE,
	 "1:14:'module' is missing\n"},
	{"no token", "keystores: [ { name: k, type: pkcs11, module: /m } ]\n" ZONE,
	 "1:14:give one of 'token', 'slot' and 'uri'\n"},
	{"two ways to the token",
	 "keystores: [ { name: k, type: pkcs11, module: /m, slot: 0, token: t } ]\n" ZONE,
	 "1:14:give only one of 'token', 'slot' and 'uri'\n"},
	{"not a pkcs11 uri",
	 "keystores: [ { name: k, type: pkcs11, module: /m, uri: \"https://x\" } ]\n" ZONE,
	 "1:56:'uri': expected pkcs11:...\n"},
	{"pin in a uri",
	 "keystores: [ { name: k, type: pkcs11, module: /m, uri: \"pkcs11:token=t?pin-value=1\" "
	 "} ]\n" ZONE,
	 "1:56:'uri': no PIN may stand here, use 'pin-file'\n"},
	{"pin", "keystores: [ { name: k, type: pkcs11, module: /m, slot: 0, pin: 1234 } ]\n" ZONE,
	 "1:60:unknown key 'pin' in keystores\n"},
	{"file with a token", "keystores: [ { name: k, type: file, token: t } ]\n" ZONE,
	 "1:37:'token' is for keystores of type pkcs11\n"},
	{"token with a passphrase",
	 "keystores: [ { name: k, type: pkcs11, module: /m, slot: 0, passphrase-file: /p } "
	 "]\n" ZONE,
	 "1:60:'passphrase-file' is for keystores of type file\n"},
	{"keystore twice",
	 "keystores:\n  - { name: k, type: file }\n  - { name: k, type: file }\n" ZONE,
	 "3:13:keystore 'k' is given twice\n"},

	/* policies */
	{"policy without keys", STORE "policies: [ { name: p } ]\n" ZONE,
	 "3:13:no keys: give 'ksk' and 'zsk', or 'csk'\n"},
	{"ksk alone", STORE "policies: [ { name: p, ksk: { keystore: k } } ]\n" ZONE,
	 "3:24:'ksk' without 'zsk' (one key for both is called 'csk')\n"},
	{"zsk alone", STORE "policies: [ { name: p, zsk: { keystore: k } } ]\n" ZONE,
	 "3:24:'zsk' without 'ksk' (one key for both is called 'csk')\n"},
	{"csk and ksk",
	 STORE "policies: [ { name: p, csk: { keystore: k }, ksk: { keystore: k } } ]\n" ZONE,
	 "3:24:'csk' excludes 'ksk' and 'zsk'\n"},
	{"key without keystore", STORE "policies: [ { name: p, csk: { lifetime: 1y } } ]\n" ZONE,
	 "3:29:'keystore' is missing\n"},
	{"dangling keystore", STORE "policies: [ { name: p, csk: { keystore: other } } ]\n" ZONE,
	 "3:41:there is no keystore 'other'\n"},
	{"a file's key that is no id",
	 STORE "policies: [ { name: p, csk: { keystore: k, key: x } } ]\n" ZONE,
	 "3:49:'key': a key of type file is named by its file, an id in hex\n"},
	{"a key that is named and shared",
	 STORE "policies: [ { name: p, csk: { keystore: k, key: 0a, shared: true } } ]\n" ZONE,
	 "3:61:'shared' is for keys that are made, and 'key' names one: all zones of the policy "
	 "have it\n"},
	{"one key for two roles",
	 STORE
	 "policies: [ { name: p, ksk: { keystore: k, key: 0a }, zsk: { keystore: k, key: 0a } "
	 "} ]\n" ZONE,
	 "3:80:'ksk' and 'zsk' name one key (one key for both is called 'csk')\n"},
	{"a PIN in a key's name",
	 "keystores: [ { name: k, type: pkcs11, module: m, token: t } ]\n"
	 "policies: [ { name: p, csk: { keystore: k, key: 'pkcs11:id=%01?pin-value=1' } } ]\n",
	 "2:49:'key': no PIN may stand here, use the keystore's 'pin-file'\n"},
	{"an empty key", STORE "policies: [ { name: p, csk: { keystore: k, key: '' } } ]\n" ZONE,
	 "3:49:'key': empty\n"},
	{"shared by a word",
	 STORE "policies: [ { name: p, csk: { keystore: k, shared: yes } } ]\n" ZONE,
	 "3:52:'shared': expected true or false, found 'yes'\n"},
	{"algorithm", STORE POLICY "    algorithm: rsasha1\n" ZONE,
	 "6:16:'algorithm': expected ecdsap256sha256, found 'rsasha1'\n"},
	{"algorithm of later", STORE POLICY "    algorithm: ed25519\n" ZONE,
	 "6:16:'algorithm': 'ed25519' is not supported by this version\n"},
	{"denial of later", STORE POLICY "    denial: compact\n" ZONE,
	 "6:13:'denial': 'compact' is not supported by this version\n"},
	{"denial", STORE POLICY "    denial: nsec5\n" ZONE,
	 "6:13:'denial': expected nsec or nsec3, found 'nsec5'\n"},
	{"opt-out of NSEC", STORE POLICY "    nsec3-opt-out: true\n" ZONE,
	 "6:20:'nsec3-opt-out' is for 'denial: nsec3'\n"},
	{"signing", STORE POLICY "    signing: lazy\n" ZONE,
	 "6:14:'signing': expected online or eager, found 'lazy'\n"},
	{"validity not over refresh",
	 STORE POLICY "    signature-validity: 7d\n    signature-refresh: 7d\n" ZONE,
	 "6:25:'signature-validity' is not longer than 'signature-refresh' (604800s)\n"},
	{"validity not over the refresh that is meant",
	 STORE POLICY "    signature-validity: 1d\n" ZONE,
	 "6:25:'signature-validity' is not longer than 'signature-refresh' (604800s)\n"},
	{"policy twice", STORE POLICY "  - name: p\n    csk: { keystore: k }\n" ZONE,
	 "6:11:policy 'p' is given twice\n"},

	/* tsig-keys */
	{"TSIG key without anything", "tsig-keys: [ {} ]\n" ZONE,
	 "1:14:'name' is missing\n1:14:'secret-file' is missing\n"},
	{"TSIG keys that are a map", "tsig-keys: { name: k }\n" ZONE,
	 "1:12:'tsig-keys': expected a list, found a map\n"},
	{"TSIG key that is a word", "tsig-keys: [ k ]\n" ZONE,
	 "1:14:'tsig-keys': expected a map, found 'k'\n"},
	{"a secret that stands there", "tsig-keys: [ { name: k, secret: AAAA } ]\n" ZONE,
	 "1:14:'secret-file' is missing\n"
	 "1:25:unknown key 'secret' in tsig-keys\n"},
	{"TSIG key's name", "tsig-keys: [ { name: a..b, secret-file: s } ]\n" ZONE,
	 "1:22:'name': a label is empty: 'a..b'\n"},
	{"TSIG key's algorithm",
	 "tsig-keys: [ { name: k, algorithm: hmac-md5, secret-file: s } ]\n" ZONE,
	 "1:36:'algorithm': expected hmac-sha256, hmac-sha384, hmac-sha512 or hmac-sha1, found "
	 "'hmac-md5'\n"},
	{"TSIG key twice",
	 "tsig-keys:\n  - { name: K.test, secret-file: s }\n"
	 "  - { name: k.TEST., secret-file: t }\n" ZONE,
	 "3:13:TSIG key 'k.TEST.' is given twice\n"},

	/* remotes */
	{"remote without anything", "remotes: [ {} ]\n" ZONE,
	 "1:12:'name' is missing\n1:12:'address' is missing\n"},
	{"remote that is a word", "remotes: [ r ]\n" ZONE,
	 "1:12:'remotes': expected a map, found 'r'\n"},
	{"remote twice",
	 "remotes:\n  - { name: r, address: 192.0.2.1 }\n"
	 "  - { name: r, address: 192.0.2.2 }\n" ZONE,
	 "3:13:remote 'r' is given twice\n"},
	{"remote without a name, and another",
	 "remotes:\n  - { address: 192.0.2.1 }\n  - { address: 192.0.2.2 }\n" ZONE,
	 "2:5:'name' is missing\n3:5:'name' is missing\n"},
	{"no addresses", "remotes: [ { name: r, address: [] } ]\n" ZONE,
	 "1:32:'address': expected an address, or a list of some, found a list\n"},
	{"addresses in a map", "remotes: [ { name: r, address: { a: b } } ]\n" ZONE,
	 "1:32:'address': expected an address, or a list of some, found a map\n"},
	{"a remote's addresses",
	 "remotes:\n  - name: r\n    address:\n      - ns.example\n      - 192.0.2.1@0\n"
	 "      - 192.0.2.0/33\n      - \"2001:db8::/129\"\n      - 192.0.2.0/\n      - /24\n"
	 "      - 192.0.2.0@53/24\n      - 192.0.2.0/24@53\n      - 192.0.2.0/-1\n"
	 "      - 192.0.2.0/2x\n      - []\n" ZONE,
	 "4:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found 'ns.example'\n"
	 "5:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found '192.0.2.1@0'\n"
	 "6:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found '192.0.2.0/33'\n"
	 "7:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found "
	 "'2001:db8::/129'\n"
	 "8:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found '192.0.2.0/'\n"
	 "9:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found '/24'\n"
	 "10:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found "
	 "'192.0.2.0@53/24'\n"
	 "11:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found "
	 "'192.0.2.0/24@53'\n"
	 "12:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found '192.0.2.0/-1'\n"
	 "13:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found '192.0.2.0/2x'\n"
	 "14:9:'address': expected ADDRESS, ADDRESS@PORT or ADDRESS/BITS, found a list\n"},
	{"bits behind the prefix",
	 "remotes:\n  - name: r\n    address: [ 192.0.2.1/24, 192.0.2.64/25, \"2001:db8::/31\",\n"
	 "               0.0.0.1/0, \"::ffff:192.0.2.0/24\" ]\n" ZONE,
	 "3:16:'address': 192.0.2.1/24: bits are set behind the prefix\n"
	 "3:30:'address': 192.0.2.64/25: bits are set behind the prefix\n"
	 "4:16:'address': 0.0.0.1/0: bits are set behind the prefix\n"
	 "4:27:'address': ::ffff:192.0.2.0/24: bits are set behind the prefix\n"},
	{"a remote's address twice",
	 "remotes: [ { name: r, address: [ 192.0.2.1, 192.0.2.1@53, 192.0.2.0/24, 192.0.2.0/24 "
	 "] } ]\n" ZONE,
	 "1:45:'address': 192.0.2.1@53 is given twice\n"
	 "1:73:'address': 192.0.2.0/24 is given twice\n"},
	{"unknown TSIG key",
	 "tsig-keys: [ { name: k, secret-file: s } ]\n"
	 "remotes: [ { name: r, address: 192.0.2.1, tsig-key: l } ]\n" ZONE,
	 "2:53:there is no TSIG key 'l'\n"},
	{"a list for a TSIG key",
	 "remotes: [ { name: r, address: 192.0.2.1, tsig-key: [ k ] } ]\n" ZONE,
	 "1:53:'tsig-key': expected the name of a TSIG key, found a list\n"},
	{"no name for a TSIG key",
	 "remotes: [ { name: r, address: 192.0.2.1, tsig-key: a..b } ]\n" ZONE,
	 "1:53:'tsig-key': expected the name of a TSIG key, found 'a..b'\n"},
	{"unknown remote",
	 "remotes: [ { name: r, address: 192.0.2.1 } ]\n"
	 "zones: [ { name: a.test, file: a, secondaries: [ r, s, R ] } ]\n",
	 "2:53:there is no remote 's'\n2:56:there is no remote 'R'\n"},
	{"secondary twice",
	 "remotes: [ { name: r, address: 192.0.2.1 } ]\n"
	 "zones: [ { name: a.test, file: a, secondaries: [ r, r ] } ]\n",
	 "2:53:'secondaries': r is given twice\n"},
	{"no secondaries", "zones: [ { name: a.test, file: a, secondaries: [] } ]\n",
	 "1:48:'secondaries': expected a list of names of remotes, found a list\n"},
	{"one secondary, not a list",
	 "remotes: [ { name: r, address: 192.0.2.1 } ]\n"
	 "zones: [ { name: a.test, file: a, secondaries: r } ]\n",
	 "2:48:'secondaries': expected a list of names of remotes, found 'r'\n"},
	{"a map for a secondary",
	 "zones: [ { name: a.test, file: a, secondaries: [ { name: r } ] } ]\n",
	 "1:50:'secondaries': expected the name of a remote, found a map\n"},

	/* zones */
	{"no zone", "server: {}\n", "1:1:warning: no zone is configured\n"},
	{"zone without anything", "zones: [ {} ]\n",
	 "1:10:'name' is missing (or 'directory')\n1:10:'file' is missing\n"},
	{"zone without file", "zones: [ { name: a.test } ]\n", "1:10:'file' is missing\n"},
	{"directory and name", "zones: [ { directory: d, name: a.test } ]\n",
	 "1:26:'name' and 'directory' exclude each other\n"},
	{"zone's name", "zones: [ { name: a..test, file: a } ]\n",
	 "1:18:'name': a label is empty: 'a..test'\n"},
	{"dangling policy", "zones: [ { name: a.test, file: a, policy: p } ]\n",
	 "1:43:there is no policy 'p'\n"},
	{"misspelt policy",
	 STORE "policies: [ { name: default, csk: { keystore: k } } ]\n"
	       "zones: [ { name: a.test, file: a, policy: defualt } ]\n",
	 "4:43:there is no policy 'defualt'; did you mean 'default'?\n"},
	{"zone twice",
	 "zones:\n  - { name: a.test, file: a }\n  - { name: B.test, file: b }\n"
	 "  - { name: A.TEST., file: c }\n",
	 "4:13:zone a.test. is given twice, first in line 2 (/etc/signet/a)\n"},
	{"serial", "zones: [ { name: a.test, file: a, serial: dates } ]\n",
	 "1:43:'serial': expected keep, increment, unixtime or date, found 'dates'\n"},
	{"a kept serial of a zone that is signed",
	 STORE POLICY "zones:\n  - { name: a.test, file: a, policy: p, serial: keep }\n",
	 "7:49:'serial': keep is for zones without a policy: signatures change, and the serial "
	 "with them\n"},
	{"a kept serial of a directory of them",
	 STORE POLICY "zones:\n  - directory: d\n    policy: p\n    serial: keep\n",
	 "9:13:'serial': keep is for zones without a policy: signatures change, and the serial "
	 "with them\n"},

	/* many at once, in the order of the file */
	{"all in one pass",
	 "server:\n  listen: [ 127.0.0.1@99999 ]\n  stat: /nowhere\nzones:\n  - name: a.test\n"
	 "    file: missing.zone\n    policy: none\n    watch: maybe\n",
	 "2:13:'listen': expected ADDRESS or ADDRESS@PORT, found '127.0.0.1@99999'\n"
	 "3:3:unknown key 'stat' in server; did you mean 'state'?\n"
	 "7:13:there is no policy 'none'\n"
	 "8:12:'watch': expected true or false, found 'maybe'\n"},
};

static void test_bad(void **state)
{
	char found[4096];
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct conf *c = read_text(bad[i].text, found, sizeof(found));
		if (strcmp(found, bad[i].found) != 0) {
			print_error("%s: expected\n%sfound\n%s", bad[i].name, bad[i].found, found);
			wrong++;
		}
		conf_free(c);
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

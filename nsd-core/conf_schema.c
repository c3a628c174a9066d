#include "nsd-core/conf_schema.h"

#define HOUR UINT64_C(3600)
#define DAY  (24 * HOUR)
#define YEAR (365 * DAY)
#define KILO UINT64_C(1024)
#define MEGA (1024 * KILO)

#define SERVER(field)	offsetof(struct conf_server, field)
#define KEYSTORE(field) offsetof(struct conf_keystore, field)
#define POLICY(field)	offsetof(struct conf_policy, field)
#define KEY(field)	offsetof(struct conf_key, field)
#define TSIG_KEY(field) offsetof(struct conf_tsig_key, field)
#define REMOTE(field)	offsetof(struct conf_remote, field)
#define ZONE(field)	offsetof(struct conf_zone_entry, field)

/* clang-format off */
const struct option conf_options[] = {
	{SECTION_ROOT, "server", OPT_MAP, .offset = OPT_NOWHERE,
	 .doc = "The server itself."},
	{SECTION_ROOT, "keystores", OPT_LIST, .offset = OPT_NOWHERE,
	 .doc = "Where signing keys live."},
	{SECTION_ROOT, "policies", OPT_LIST, .offset = OPT_NOWHERE,
	 .doc = "How zones are signed."},
	{SECTION_ROOT, "zones", OPT_LIST, .offset = OPT_NOWHERE,
	 .doc = "What is served."},
	{SECTION_ROOT, "tsig-keys", OPT_LIST, .offset = OPT_NOWHERE,
	 .doc = "Keys that messages between servers are signed with (RFC 8945)."},
	{SECTION_ROOT, "remotes", OPT_LIST, .offset = OPT_NOWHERE,
	 .doc = "Other name servers."},
	{SECTION_ROOT, "dkim", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "Directories of DKIM keys."},

	{SECTION_SERVER, "listen", OPT_ADDRESSES, "[ 127.0.0.1@53, '::1@53' ]",
	 .min = 1, .max = 64, .offset = SERVER(listen), .count_offset = SERVER(listen_count),
	 .doc = "Addresses served, over UDP and TCP each; the port is 53 where none is given."},
	{SECTION_SERVER, "tls-listen", OPT_ADDRESSES, .min = 1, .max = 64, .port = 853,
	 .offset = SERVER(tls_listen), .count_offset = SERVER(tls_listen_count),
	 .doc = "Addresses where zones are transferred over TLS (RFC 9103), the port 853 where none is given; absent: none."},
	{SECTION_SERVER, "tls-certificate", OPT_PATH, .offset = SERVER(tls_certificate),
	 .doc = "Certificate in PEM, with its chain; read again within a minute when it changes."},
	{SECTION_SERVER, "tls-key", OPT_PATH, .offset = SERVER(tls_key),
	 .doc = "Its private key in PEM; nobody but the server should be able to read it."},
	{SECTION_SERVER, "workers", OPT_NUMBER, "0", .max = 256, .offset = SERVER(workers),
	 .doc = "Threads that answer; 0 means one per CPU that the server may run on."},
	{SECTION_SERVER, "state", OPT_PATH, "/var/lib/signet", .offset = SERVER(state),
	 .doc = "Directory of what must survive a restart: keys, their times, serials."},
	{SECTION_SERVER, "control", OPT_PATH, "/run/signet/control.sock",
	 .offset = SERVER(control),
	 .doc = "Socket that signetctl talks to."},
	{SECTION_SERVER, "user", OPT_TEXT, .min = 1, .max = 64, .offset = SERVER(user),
	 .doc = "User to run as once the sockets are bound; absent: the user who started it."},
	{SECTION_SERVER, "nsid", OPT_TEXT, .min = 1, .max = 128, .offset = SERVER(nsid),
	 .doc = "Name server identifier (RFC 5001), sent to clients that ask for it; absent: not sent."},
	{SECTION_SERVER, "version", OPT_TEXT, .min = 1, .max = 255, .offset = SERVER(version),
	 .doc = "Answer to version.bind TXT in class CHAOS; absent: refused."},
	{SECTION_SERVER, "identity", OPT_TEXT, .min = 1, .max = 255, .offset = SERVER(identity),
	 .doc = "Answer to id.server TXT in class CHAOS; absent: refused."},
	{SECTION_SERVER, "udp-size", OPT_NUMBER16, "1232", .min = 512, .max = 4096,
	 .offset = SERVER(udp_size),
	 .doc = "Octets of the largest answer over UDP; what is larger is asked again over TCP."},
	{SECTION_SERVER, "udp-buffer", OPT_SIZE, "4M", .min = 64 * KILO, .max = 1024 * MEGA,
	 .offset = SERVER(udp_buffer_bytes),
	 .doc = "Receive buffer asked for each UDP socket; the kernel gives at most net.core.rmem_max."},
	{SECTION_SERVER, "tcp-idle-timeout", OPT_MILLISECONDS, "10s", .min = 1, .max = HOUR,
	 .offset = SERVER(tcp_idle_ms),
	 .doc = "A connection without a whole question or a finished answer for this long is closed."},
	{SECTION_SERVER, "tcp-clients", OPT_NUMBER, "1000", .min = 1, .max = 1000000,
	 .offset = SERVER(tcp_clients),
	 .doc = "TCP connections in all; one more is closed at once."},
	{SECTION_SERVER, "tcp-clients-per-address", OPT_NUMBER, "100", .min = 1, .max = 60000,
	 .offset = SERVER(tcp_clients_per_address),
	 .doc = "TCP connections from one IPv4 address or one IPv6 /64."},
	{SECTION_SERVER, "http", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "Address of metrics and status page."},
	{SECTION_SERVER, "rate-limit", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "Responses per second and client prefix."},

	{SECTION_KEYSTORE, "name", OPT_TEXT, .required = true, .min = 1, .max = 63,
	 .offset = KEYSTORE(name),
	 .doc = "What policies call it."},
	{SECTION_KEYSTORE, "type", OPT_CHOICE, .required = true, .offset = KEYSTORE(type),
	 .choices = "pkcs11|file|aws-kms",
	 .doc = "A PKCS#11 token, PKCS#8 PEM files under the state directory, or the key service of AWS."},
	{SECTION_KEYSTORE, "module", OPT_PATH, .offset = KEYSTORE(module),
	 .doc = "Path of the PKCS#11 module, a shared library."},
	{SECTION_KEYSTORE, "token", OPT_TEXT, .min = 1, .max = 32, .offset = KEYSTORE(token),
	 .doc = "Label of the token; exactly one of token, slot and uri is given."},
	{SECTION_KEYSTORE, "slot", OPT_NUMBER64, .max = UINT32_MAX, .offset = KEYSTORE(slot),
	 .doc = "Number of the token's slot, where labels do not tell tokens apart."},
	{SECTION_KEYSTORE, "uri", OPT_TEXT, .min = 8, .max = 1024, .offset = KEYSTORE(uri),
	 .doc = "PKCS#11 URI of the token (RFC 7512); pin-value is refused."},
	{SECTION_KEYSTORE, "pin-file", OPT_PATH, .offset = KEYSTORE(pin_file),
	 .doc = "File whose first line is the PIN; nobody but the server should be able to read it."},
	{SECTION_KEYSTORE, "sessions", OPT_NUMBER, "4", .min = 1, .max = 256,
	 .offset = KEYSTORE(sessions),
	 .doc = "Parallel signing sessions."},
	{SECTION_KEYSTORE, "isolate", OPT_BOOL, "true", .offset = KEYSTORE(isolate),
	 .doc = "The module in a process of its own, which may crash or hang without harm to the server."},
	{SECTION_KEYSTORE, "init-args", OPT_TEXT, .min = 1, .max = 1024,
	 .offset = KEYSTORE(init_args),
	 .doc = "String that some modules want when they are initialised."},
	{SECTION_KEYSTORE, "passphrase-file", OPT_PATH, .offset = KEYSTORE(passphrase_file),
	 .doc = "File whose first line encrypts the key files that are made from now on, and opens those that are encrypted; absent: new ones are plain."},
	{SECTION_KEYSTORE, "region", OPT_TEXT, .min = 1, .max = 63, .offset = KEYSTORE(region),
	 .doc = "AWS region of the keys; absent: what AWS_REGION or the profile says."},
	{SECTION_KEYSTORE, "endpoint", OPT_TEXT, .min = 8, .max = 255,
	 .offset = KEYSTORE(endpoint),
	 .doc = "URL of the service, for private and FIPS endpoints (plain HTTP: of this machine only); absent: AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL, or the region's own."},
	{SECTION_KEYSTORE, "profile", OPT_TEXT, .min = 1, .max = 128, .offset = KEYSTORE(profile),
	 .doc = "Profile of the shared AWS configuration; absent: AWS_PROFILE, or default."},
	{SECTION_KEYSTORE, "ca-file", OPT_PATH, .offset = KEYSTORE(ca_file),
	 .doc = "Certificates that the endpoint's is checked with; absent: the system's."},
	{SECTION_KEYSTORE, "rate", OPT_NUMBER, "100", .min = 1, .max = 100000,
	 .offset = KEYSTORE(rate),
	 .doc = "Signatures a second at most, of the quota that the whole account shares."},

	{SECTION_POLICY, "name", OPT_TEXT, .required = true, .min = 1, .max = 63,
	 .offset = POLICY(name),
	 .doc = "What zones call it."},
	{SECTION_POLICY, "algorithm", OPT_CHOICE, "ecdsap256sha256", .offset = OPT_NOWHERE,
	 .choices = "ecdsap256sha256",
	 .later = "ecdsap384sha384|ed25519|ed448|rsasha256|rsasha512",
	 .doc = "Algorithm of the keys; ECDSA P-256 with SHA-256 (13) is the only one yet."},
	{SECTION_POLICY, "signing", OPT_CHOICE, "online", .offset = POLICY(eager),
	 .choices = "online|eager",
	 .doc = "Online: signed on first need and in the background; eager: wholly signed before it is served."},
	{SECTION_POLICY, "denial", OPT_CHOICE, "nsec", .offset = POLICY(nsec3),
	 .choices = "nsec|nsec3", .later = "compact",
	 .doc = "How it is proven that a name does not exist: with NSEC, or with NSEC3 of no further iterations and no salt (RFC 9276)."},
	{SECTION_POLICY, "nsec3-opt-out", OPT_BOOL, "false", .offset = POLICY(nsec3_opt_out),
	 .doc = "NSEC3 without the delegations that have no DS (RFC 5155 6), for zones of many; it goes with denial nsec3."},
	{SECTION_POLICY, "ksk", OPT_MAP, .offset = POLICY(ksk),
	 .doc = "The key that signs the keys, and that the parent's DS names."},
	{SECTION_POLICY, "zsk", OPT_MAP, .offset = POLICY(zsk),
	 .doc = "The key that signs everything else; it goes with ksk."},
	{SECTION_POLICY, "csk", OPT_MAP, .offset = POLICY(csk),
	 .doc = "One key for both, instead of ksk and zsk."},
	{SECTION_POLICY, "dnskey-ttl", OPT_SECONDS, "1h", .min = 1, .max = 30 * DAY,
	 .offset = POLICY(dnskey_ttl),
	 .doc = "TTL of the DNSKEY, CDS and CDNSKEY records."},
	{SECTION_POLICY, "signature-refresh", OPT_SECONDS, "7d", .min = 1, .max = YEAR,
	 .offset = POLICY(refresh_s),
	 .doc = "A signature with less time than this left is made again: as long as a keystore may be away; absent, with secondaries: at least SOA expire, the largest TTL and a day."},
	{SECTION_POLICY, "signature-validity", OPT_SECONDS, .min = 2, .max = 10 * YEAR,
	 .offset = POLICY(validity_s),
	 .doc = "How long a new signature is good; absent: signature-refresh and 14 days."},
	{SECTION_POLICY, "propagation", OPT_SECONDS, "5m", .max = 30 * DAY,
	 .offset = POLICY(propagation_s),
	 .doc = "Time until every secondary has a change."},
	{SECTION_POLICY, "publish-cds", OPT_BOOL, "true", .offset = POLICY(publish_cds),
	 .doc = "Publish CDS and CDNSKEY (RFC 7344) once the DS would be safe."},

	{SECTION_KEY, "keystore", OPT_KEYSTORE, .required = true, .offset = KEY(keystore),
	 .doc = "Name of the keystore that the key is in, or is made in."},
	{SECTION_KEY, "lifetime", OPT_SECONDS, .min = 60, .max = 100 * YEAR,
	 .offset = KEY(lifetime_s),
	 .doc = "After this long the key is to be replaced; absent: never. This version keeps the key and its dates, and replaces none by itself."},
	{SECTION_KEY, "key", OPT_TEXT, .min = 1, .max = 511, .offset = KEY(key),
	 .doc = "The key wanted, which has to be there; absent: it is made, one for each zone."},
	{SECTION_KEY, "shared", OPT_BOOL, "false", .offset = KEY(shared),
	 .doc = "The key is made once, for all zones of the policy."},

	{SECTION_TSIG_KEY, "name", OPT_NAME, .required = true, .offset = TSIG_KEY(name),
	 .doc = "Its name, the same on both sides."},
	{SECTION_TSIG_KEY, "algorithm", OPT_CHOICE, "hmac-sha256", .offset = TSIG_KEY(algorithm),
	 .choices = "hmac-sha256|hmac-sha384|hmac-sha512|hmac-sha1",
	 .doc = "How it signs; hmac-sha1 is for others that know nothing better."},
	{SECTION_TSIG_KEY, "secret-file", OPT_PATH, .required = true,
	 .offset = TSIG_KEY(secret_file),
	 .doc = "File whose first line is the secret in base64; nobody but the server should be able to read it."},

	{SECTION_REMOTE, "name", OPT_TEXT, .required = true, .min = 1, .max = 63,
	 .offset = REMOTE(name),
	 .doc = "What zones call it."},
	{SECTION_REMOTE, "address", OPT_PEERS, .required = true, .max = 64,
	 .offset = REMOTE(peers), .count_offset = REMOTE(peer_count),
	 .doc = "Where it is, the port 53 where none is given; or a list, in which ADDRESS/BITS are ranges it asks from."},
	{SECTION_REMOTE, "tsig-key", OPT_TSIG_KEY, .offset = REMOTE(tsig_key),
	 .doc = "Key that it signs with, and that it is spoken to with; absent: its addresses tell who it is."},
	{SECTION_REMOTE, "tls", OPT_BOOL, "false", .offset = REMOTE(tls),
	 .doc = "Zones are transferred to it over TLS only."},

	{SECTION_ZONE, "name", OPT_NAME, .offset = ZONE(zone.name),
	 .doc = "Name of the zone, with or without its final dot; it goes with file."},
	{SECTION_ZONE, "file", OPT_PATH, .offset = ZONE(zone.file),
	 .doc = "Its master file (RFC 1035)."},
	{SECTION_ZONE, "directory", OPT_PATH, .offset = ZONE(directory),
	 .doc = "Instead of name and file: every file NAME.zone in this directory is the zone NAME."},
	{SECTION_ZONE, "policy", OPT_POLICY, .offset = ZONE(zone.policy),
	 .doc = "How it is signed; absent: it is served as it is, signatures and proofs in the file included."},
	{SECTION_ZONE, "watch", OPT_BOOL, "false", .offset = ZONE(zone.watch),
	 .doc = "Load the zone again when its file changes."},
	{SECTION_ZONE, "parent", OPT_ADDRESSES, .min = 1, .max = 32, .offset = ZONE(zone.parent),
	 .count_offset = ZONE(zone.parent_count),
	 .doc = "Name servers of the parent zone, asked for DS; absent: a DS is taken to exist."},
	{SECTION_ZONE, "serial", OPT_CHOICE, .offset = ZONE(zone.serial),
	 .choices = "keep|increment|unixtime|date",
	 .doc = "The serial of a new version: the last one plus 1, or what the clock says where that is greater; keep: the file's."},
	{SECTION_ZONE, "secondaries", OPT_REMOTES, .min = 1, .max = 64,
	 .offset = ZONE(zone.secondaries), .count_offset = ZONE(zone.secondary_count),
	 .doc = "Remotes that are notified and may transfer the zone."},
	{SECTION_ZONE, "journal-size", OPT_SIZE, "64M", .min = 64 * KILO, .max = 1024 * MEGA,
	 .offset = ZONE(zone.journal_bytes),
	 .doc = "Octets of history that are kept for secondaries at most; the oldest goes first."},
	{SECTION_ZONE, "primaries", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "Remotes that the zone is transferred from."},
	{SECTION_ZONE, "parent-ds-ttl", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "TTL of the DS where it cannot be measured."},
	{SECTION_ZONE, "parent-propagation", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "Time until every name server of the parent has a change."},
	{SECTION_ZONE, "catalog", OPT_NAME, .offset = ZONE(catalog),
	 .doc = "Catalog zone (RFC 9432) that lists this zone, made for the secondaries."},
	{SECTION_ZONE, "catalog-group", OPT_TEXT, .min = 1, .max = 255,
	 .offset = ZONE(catalog_group),
	 .doc = "Group of the zone in the catalog, which the secondaries know a configuration for."},
	{SECTION_ZONE, "make", OPT_CHOICE, .offset = OPT_NOWHERE, .choices = "catalog",
	 .doc = "Instead of a file: the zone is the catalog of all zones that name it, and goes to its secondaries only."},
	{SECTION_ZONE, "updates", OPT_LATER, .offset = OPT_NOWHERE,
	 .doc = "Who may change what by DNS UPDATE (RFC 2136)."},
};
/* clang-format on */

const size_t conf_option_count = sizeof(conf_options) / sizeof(conf_options[0]);

const char *conf_section_name(enum option_section section)
{
	static const char *const names[] = {
		[SECTION_ROOT] = "",
		[SECTION_SERVER] = "server",
		[SECTION_KEYSTORE] = "keystores",
		[SECTION_POLICY] = "policies",
		[SECTION_KEY] = "ksk, zsk, csk",
		[SECTION_TSIG_KEY] = "tsig-keys",
		[SECTION_REMOTE] = "remotes",
		[SECTION_ZONE] = "zones",
	};

	return names[section];
}

const struct option *conf_option_find(enum option_section section, const char *name)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		if (conf_options[i].section == section && strcmp(conf_options[i].name, name) == 0) {
			return &conf_options[i];
		}
	}
	return NULL;
}

#define DISTANCE_TEXT_MAX 40

unsigned conf_distance(const char *a, const char *b, unsigned limit)
{
	unsigned row[3][DISTANCE_TEXT_MAX + 1];
	size_t a_len = strnlen(a, DISTANCE_TEXT_MAX + 1);
	size_t b_len = strnlen(b, DISTANCE_TEXT_MAX + 1);

	if (a_len > DISTANCE_TEXT_MAX || b_len > DISTANCE_TEXT_MAX) {
		return limit + 1;
	}
	for (size_t j = 0; j <= b_len; j++) {
		row[0][j] = (unsigned)j;
	}
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *now = row[i % 3];
		const unsigned *last = row[(i + 2) % 3];
		const unsigned *before = row[(i + 1) % 3];
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
			best = last[j] + 1 < best ? last[j] + 1 : best;
			best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best) {
				best = before[j - 2] + 1;
			}
			now[j] = best;
		}
	}
	unsigned distance = row[a_len % 3][b_len];
	return distance <= limit ? distance : limit + 1;
}

const char *conf_option_near(enum option_section section, const char *wrong)
{
	unsigned limit = strlen(wrong) > 4 ? 2 : 1;
	unsigned best = limit + 1;
	const char *near = NULL;

	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *opt = &conf_options[i];
		if (opt->section != section || opt->type == OPT_LATER) {
			continue;
		}
		unsigned distance = conf_distance(wrong, opt->name, limit);
		if (distance < best) {
			best = distance;
			near = opt->name;
		}
	}
	return near;
}
